"""Installation: krona's version and place, Python, and the packages beside the bounds in krona's metadata."""

import json
import platform
import shlex
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement

from krona.doctor.line import Line
from krona.outputs.provenance import code_version
from krona.paths import INSTALLED, PROJECT
from krona.screen import below


def installation() -> Iterator[Line]:
    """krona, Python, and each required package that is missing or out of bounds."""
    yield Line("python", f"{platform.python_version()}, {sys.executable}")
    try:
        found = metadata.distribution("krona")
    except metadata.PackageNotFoundError:
        yield Line(
            "krona", f"from {PROJECT}, not installed: its version is unknown", "broken", pip("-e", below(PROJECT))
        )
        return
    yield _krona(found)
    yield from packages(found.requires or [])


def _krona(found: metadata.Distribution) -> Line:
    """Version and place. Metadata of another folder's editable install is a note: its bounds may be others."""
    if INSTALLED:
        return Line("krona", f"{found.version}, a wheel in {PROJECT.parents[1]}")
    code = code_version(PROJECT)
    commit = (
        f", commit {code['git_commit'][:8]}{' and changes' * bool(code['git_dirty'])}" if code["git_commit"] else ""
    )
    whole = f"{found.version}, the repository {PROJECT}{commit}"
    editable = _editable(found)
    if editable is not None and editable.resolve() == PROJECT:
        return Line("krona", f"{whole}, installed with pip -e")
    other = f"pip's metadata is that of {editable}" if editable else "pip has installed another copy"
    return Line("krona", f"{whole}; {other}", "note", pip("-e", below(PROJECT)))


def _editable(found: metadata.Distribution) -> Path | None:
    """The folder of an editable install."""
    about = json.loads(found.read_text("direct_url.json") or "{}")
    return Path(unquote(urlsplit(about["url"]).path)) if about.get("dir_info", {}).get("editable") else None


def packages(requirements: list[str]) -> Iterator[Line]:
    """Each required package that is missing or out of bounds, with pip's command; a line of all where none is."""
    required = [Requirement(text) for text in requirements]
    required = [one for one in required if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [(one, why) for one in required if (why := _out_of_bounds(one))]
    for one, why in wrong:
        yield Line("package", why, "broken", pip(f"{one.name}{one.specifier}"))
    if not wrong:
        shown = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers", "pytorch-lightning"))
        yield Line("packages", f"{len(required)} required, all within their bounds: {shown} …")


def _out_of_bounds(one: Requirement) -> str | None:
    try:
        version = metadata.version(one.name)
    except metadata.PackageNotFoundError:
        return f"{one.name} is not installed; krona needs {one.name}{one.specifier}"
    if one.specifier.contains(version, prereleases=True):
        return None
    return f"{one.name} is {version}; krona needs {one.name}{one.specifier}"


def pip(*arguments: str) -> str:
    """pip's command for this interpreter."""
    return shlex.join([sys.executable, "-m", "pip", "install", *arguments])
