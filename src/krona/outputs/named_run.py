"""A run by the name that a user types."""

from contextlib import suppress
from pathlib import Path

from krona.messages import KronaError


def find_run(outputs: Path, name: str) -> Path:
    """A run's folder by path, id, or the beginning of an id; none or several are an error that names them."""
    given = Path(name)
    with suppress(OSError):  # too long for a path, or in a folder that can't be read
        if (given / "result.json").is_file() or (given.is_file() and given.name == "result.json"):
            return given if given.is_dir() else given.parent
    matches = sorted(path.parent for path in outputs.glob("*/result.json") if path.parent.name.startswith(name))
    exact = [path for path in matches if path.name == name]
    if len(exact or matches) == 1:
        return (exact or matches)[0]
    if not matches:
        raise KronaError(f"no run {name!r} under {outputs}: give a run's id, its beginning, or its folder")
    shown = ", ".join(path.name for path in matches[:5]) + (" …" if len(matches) > 5 else "")
    raise KronaError(f"{len(matches)} runs begin with {name!r}: {shown}")
