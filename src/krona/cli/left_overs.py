"""Find and remove the files that dead processes left in outputs/ (`krona doctor --fix`)."""

import re
import time
from contextlib import suppress
from pathlib import Path

from krona.adapters.commands.export_folder import find_killed, remove_temporary
from krona.cli.damaged_runs import examine
from krona.runs.folder import RunFolder, run_folders
from krona.runs.holder import is_dead
from krona.safe_files import is_below, remove_below

SHARED = {  # folders that several runs write to, and the names of incomplete files in them
    ".": re.compile(r"\.report\.html\..+"),
    ".index": re.compile(r"\.computed\.json\..+|[0-9a-f]{32}\.json"),  # the latter is from an earlier version of krona
    ".cache/tokens": re.compile(r"\.[0-9a-f]{24}-.+"),
    "sweeps": re.compile(r"\..+\.(json|runs\.txt)\..+"),
}
YOUNG_S = 60.0  # seconds; a younger file may belong to a process that is about to take over the run
ABANDONED_S = 3600.0  # seconds; in a folder of several runs, no claim shows whether the writer of a file is alive


def remove_left_overs(outputs: Path) -> list[Path]:
    """Remove the files that dead processes left, and no other files. Return the removed paths.

    Raises:
        KronaError: a run's folder is not writable.
    """
    removed = [path for path in find_exports(outputs) if remove_temporary(path)]
    removed += [path for path in find_abandoned(outputs) if remove_below(outputs, path)]
    for run in run_folders(outputs):
        holder = run.holder()
        if holder is None or is_dead(holder):
            result, _ = examine(run)
            done = result is not None and result.status == "done"
            if find_left_overs(run, done=done):
                removed += run.clean(done=done)
    return removed


def find_left_overs(run: RunFolder, *, done: bool) -> list[Path]:
    """Return the files that a dead process left in a run's folder.

    The list is empty if the folder is a symbolic link, because the link's target may belong to another user.
    """
    found = [] if run.path.is_symlink() else run.leftovers(done=done)
    return [path for path in found if path in (run.claim_file, run.checkpoint) or _age(path) > YOUNG_S]


def find_abandoned(outputs: Path) -> list[Path]:
    """Return the incomplete files in folders that several runs write to, if they have not changed for an hour."""
    found: list[Path] = []
    for name, pattern in SHARED.items():
        with suppress(OSError):  # missing, or not readable
            found += sorted(path for path in (outputs / name).iterdir() if pattern.fullmatch(path.name))
    return [path for path in found if _age(path) > ABANDONED_S and is_below(outputs, path)]


def find_exports(outputs: Path) -> list[Path]:
    """Return the folders that killed exports left in ``outputs`` and in the working directory."""
    return [path for folder in dict.fromkeys((outputs, Path.cwd())) for path in find_killed(folder)]


def _age(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:  # removed in the meantime
        return 0.0
