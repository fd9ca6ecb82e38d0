"""Write the folder of an export, or replace an earlier export."""

import json
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from krona import paths
from krona.messages import KronaError, join_names, shorten
from krona.runs import file_names
from krona.runs.holder import claim_text, is_dead, read_holder
from krona.safe_files import remove_below

MARKER = "krona_export.json"  # the file in an export that lists the files that krona wrote
NEW, OLD = "new", "old"  # in an export's temporary folder: the export, and the earlier export that it replaces


@contextmanager
def exported_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder, add a marker file to it, and rename it to ``out`` when it is complete.

    The folder ``out`` may be missing or empty. With ``overwrite``, it may also be an earlier export, which is renamed
    and checked again before the files that krona wrote for it are removed. Files of killed exports are removed first.
    Raises KronaError, and changes nothing, if ``out`` contains other files or must not be replaced.
    """
    out = Path(os.path.abspath(out))
    for killed in find_killed(out.parent, out.name):
        remove_temporary(killed)
    earlier = _require_replaceable(out, overwrite=overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise KronaError(f"--out {out} could not be created: {error.strerror or error}.") from error
    part = temporary / NEW
    try:
        (temporary / file_names.CLAIM).write_text(claim_text(uuid.uuid4().hex))
        part.mkdir()
        yield part
        files = sorted(_files(part))
        (part / MARKER).write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")
        mode = (part / MARKER).stat().st_mode  # according to the umask
        for name in files:
            (part / name).chmod(mode)  # transformers writes weights that only their owner can read
        if earlier:
            _replace(part, out, temporary / OLD)
        else:
            _take_name(part, out)
    except Exception as error:
        if not isinstance(error, OSError | RuntimeError) and "(os error " not in str(error):  # as Rust libraries say it
            raise
        raise KronaError(f"{out} could not be written: {error}") from error
    finally:
        remove_temporary(temporary)


def find_killed(folder: Path, name: str = "") -> list[Path]:
    """Return the temporary folders that killed exports to ``name`` (empty: to any name) left in a folder."""
    pattern = re.compile(rf"\.{re.escape(name) or '.+'}-[a-z0-9_]{{8}}", re.DOTALL)
    found: list[Path] = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            own = entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.getuid()
            if pattern.fullmatch(entry.name) and own:
                known = {*os.listdir(entry.path)} <= {file_names.CLAIM, NEW, OLD}
                found += [Path(entry.path)] * (known and is_dead(read_holder(Path(entry.path, file_names.CLAIM))))
    return sorted(found)


def remove_temporary(folder: Path) -> bool:
    """Remove the temporary folder of an export that has ended or was killed. Return whether it is removed.

    An earlier export in it is moved back if nothing has replaced it, and stays if the user has added files to it.
    """
    out, new, old = folder.with_name(folder.name[1:-9]), folder / NEW, folder / OLD
    with suppress(OSError):
        if os.path.lexists(old) and not os.path.lexists(out):
            old.rename(out)
        elif os.path.lexists(old) and not os.path.lexists(new) and not _not_exported(old):
            _remove_export(old)
    claim = folder / file_names.CLAIM  # removed first if the earlier export stays, so that nothing removes it later
    for path in (claim, new) if os.path.lexists(old) else (new, claim):
        remove_below(folder.parent, path)
    with suppress(OSError):  # the folder is not empty if the earlier export stays in it
        folder.rmdir()
    return not os.path.lexists(folder)


def _remove_export(folder: Path) -> None:
    for name in _files(folder):
        (folder / name).unlink()
    for where, _, _ in os.walk(folder, topdown=False):
        os.rmdir(where)


def _require_replaceable(out: Path, *, overwrite: bool) -> bool:
    """Return whether ``out`` is an earlier export. Raise KronaError if it must not be replaced."""
    if not os.path.lexists(out):
        return False
    problems = {
        "a symbolic link": out.is_symlink(),
        "not a folder": not out.is_dir(),
        "a mount point": os.path.ismount(out),
        **{
            f"the {name} folder or contains it": folder.resolve().is_relative_to(out.resolve())
            for name, folder in (("outputs", paths.OUTPUTS), ("working", Path.cwd()), ("home", Path.home()))
        },
    }
    for problem, found in problems.items():
        if found:
            raise KronaError(f"--out {out} is {problem} and is not replaced. Choose another folder.")
    try:
        earlier, others = any(out.iterdir()), sorted(_not_exported(out))
    except OSError as error:
        raise KronaError(f"--out {out} cannot be read: {error.strerror or error}. Choose another folder.") from error
    if others:
        named = join_names([shorten(name) for name in others[:3]])
        raise KronaError(
            f"--out {out} contains other files than an export ({named}) and is not replaced. Choose another folder."
        )
    if earlier and not overwrite:
        raise KronaError(f"--out {out} exists. Choose another folder, or add --overwrite to replace this export.")
    return earlier


def _files(folder: Path) -> set[str]:
    """Return the relative paths of all files and symbolic links in a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}


def _not_exported(folder: Path) -> set[str]:
    """Return the files in a folder that its marker file does not list."""
    found = _files(folder)
    try:
        return found - {MARKER, *json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # there is no valid marker file
        return found


def _take_name(part: Path, out: Path) -> None:
    """Rename a folder to a path that does not exist or is an empty folder. Other paths raise an error."""
    try:
        part.rename(out)
    except OSError as error:
        raise KronaError(f"{out} was created during the export and is not replaced. Nothing was exported.") from error


def _replace(part: Path, out: Path, old: Path) -> None:
    """Move the earlier export from ``out`` to ``old``, and ``part`` to ``out``. Then remove the earlier export."""
    out.rename(old)
    if _not_exported(old):  # the user added files in the meantime
        raise KronaError(f"{out} was changed during the export and is not replaced. Nothing was exported.")
    try:
        _take_name(part, out)
    except KronaError as error:
        raise KronaError(f"{error} The earlier export is now in {old}.") from error
    _remove_export(old)
