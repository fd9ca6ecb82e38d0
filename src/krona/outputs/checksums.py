"""Checksums of a finished run's adapter and predictions, which its result.json holds beside the scores."""

from pathlib import Path

from krona.files import sha256
from krona.messages import KronaError
from krona.outputs.result import Result

ADAPTER, PREDICTIONS = "adapter.safetensors", "predictions.jsonl"
KEY = "sha256"  # in the provenance; results of earlier versions have none


def checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each of a run's two files that is there, by name."""
    return {name: _sha256(folder / name) for name in (ADAPTER, PREDICTIONS) if (folder / name).is_file()}


def damages(result: Result, folder: Path) -> list[str]:
    """What is gone or damaged of the files that a finished run wrote, in words; empty where nothing is known to be."""
    found = []
    for name, wanted in (result.provenance.get(KEY) or {}).items():
        if name not in (ADAPTER, PREDICTIONS):
            continue
        if not (folder / name).is_file():
            found.append(f"{folder / name} is gone")
        elif _sha256(folder / name) != wanted:
            found.append(f"{folder / name} is damaged or was changed: its SHA-256 is not the one in result.json")
    return found


def require_whole(result: Result, file: Path) -> None:
    """Raise `KronaError` for a file of a finished run that is not the one that the run wrote."""
    wanted = (result.provenance.get(KEY) or {}).get(file.name)
    if wanted is not None and _sha256(file) != wanted:
        raise KronaError(
            f"{file} is damaged or was changed: its SHA-256 is not the one in result.json; the run's command with "
            "overwrite=true makes it again"
        )


def _sha256(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        raise KronaError(f"{file} can't be read: {error.strerror or error}") from error
