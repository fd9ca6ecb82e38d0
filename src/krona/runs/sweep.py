"""Read and write the two files of a sweep: the ids of its runs, and its command.

The file also lists the ids of waiting runs, and of runs that another command has already started.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from krona.messages import KronaError, check_file_name, did_you_mean
from krona.safe_files import read_json, write_text
from krona.secrets_in_text import mask_secrets

HYDRAS_OWN = re.compile(r"-|[+~]*hydra\b|[^=]*@hydra\b")  # options, and settings that could make Hydra import a module


def default_sweep_name(overrides: Iterable[str]) -> str:
    """Return the default name of a sweep. The same overrides always result in the same name."""
    typed = sorted(mask_secrets([*overrides]))
    return f"sweep-{hashlib.sha256(json.dumps(typed).encode()).hexdigest()[:6]}"


def save_run_ids(outputs: Path, sweep: str, run_ids: Iterable[str]) -> None:
    """Add the run ids of a command to a sweep's file. Remove the ids of other runs that have no folder.

    A report can then also count runs that wait, and runs that another command has already started.
    """
    existing = {id_ for id_ in load_run_ids(outputs, sweep) if (outputs / id_).is_dir()}
    write_text(_ids_file(outputs, sweep), "".join(f"{id_}\n" for id_ in sorted({*existing, *run_ids})))


def load_run_ids(outputs: Path, sweep: str) -> set[str]:
    """Return the saved run ids of a sweep, or an empty set if no ids are saved.

    Raises:
        KronaError: the file of the run ids is damaged.
    """
    path = _ids_file(outputs, sweep)
    try:
        run_ids = set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()
        for run_id in run_ids:
            check_file_name("a run", run_id, longest=255)
    except (OSError, ValueError, KronaError) as error:
        raise KronaError(
            f"{path} does not contain the ids of a sweep's runs ({error}). Remove the file. The sweep's command writes "
            "a new file."
        ) from error
    return run_ids


def sweeps_by_run(outputs: Path) -> dict[str, list[str]]:
    """Return the names of the sweeps that have saved each run id.

    Raises:
        KronaError: a file of run ids is damaged.
    """
    found: dict[str, list[str]] = {}
    for file in sorted(outputs.glob("sweeps/*.runs.txt")):
        name = file.name.removesuffix(".runs.txt")
        for run_id in load_run_ids(outputs, name):
            found.setdefault(run_id, []).append(name)
    return found


def _ids_file(outputs: Path, sweep: str) -> Path:
    check_file_name("sweep", sweep)
    return outputs / "sweeps" / f"{sweep}.runs.txt"


def command_file(outputs: Path, sweep: str) -> Path:
    """Return the path of the file with a sweep's command.

    Raises:
        KronaError: the name is invalid.
    """
    return _ids_file(outputs, sweep).with_name(f"{sweep}.json")


def save_command(outputs: Path, sweep: str, overrides: Sequence[str]) -> None:
    """Save the overrides of a sweep's command for `krona list SWEEP`."""
    write_text(
        command_file(outputs, sweep),
        json.dumps({"sweep": sweep, "overrides": mask_secrets([*overrides])}) + "\n",
    )


def load_command(outputs: Path, sweep: str) -> list[str]:
    """Return the overrides of a sweep's command.

    Raises:
        KronaError: the file is missing or damaged, or contains an option of Hydra.
    """
    path = command_file(outputs, sweep)
    if not path.is_file():
        known = sorted(file.stem for file in path.parent.glob("*.json"))
        raise KronaError(f"No sweep {sweep!r} was started in {path.parent}: {did_you_mean(sweep, known)}")
    try:
        overrides = read_json(path)["overrides"]
        if not isinstance(overrides, list):
            raise TypeError(f"overrides is {overrides!r}, not a list")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KronaError(
            f"{path} does not contain a sweep's command ({type(error).__name__}: {error}). Run the sweep's command "
            "again. The command writes the file and skips finished runs."
        ) from error
    if forbidden := next((item for item in map(str, overrides) if HYDRAS_OWN.match(item)), None):
        raise KronaError(
            f"{path} contains {forbidden}, but a sweep's file cannot set options of Hydra. Remove this entry."
        )
    return [str(item) for item in overrides]
