"""`RunFolder`: the files of one run, their state and checksums, and what a killed process left of them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from krona.files import Write, sha256, write_whole
from krona.messages import KronaError
from krona.runs import claim as claims
from krona.runs import holder, names
from krona.runs.holder import Holder
from krona.runs.result import Result, Status, read_result, write_result

State = Literal["done", "running", "interrupted", "failed", "waiting", "wrong"]
OPEN: tuple[State, ...] = ("waiting", "running", "interrupted")  # not finished
CHECKSUMS = "sha256"  # in the provenance; results of earlier versions have none


class RunFolder:
    """The folder of one run.

    Attributes:
        result, adapter, predictions, metrics, tracked, log: the files that stay.
        checkpoint: of the last epoch, until the run is done.
        claim_file: the claim of a process, while it works on the run.
        record: the folder of Hydra's files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.result = path / names.RESULT
        self.adapter = path / names.ADAPTER
        self.predictions = path / names.PREDICTIONS
        self.metrics = path / names.METRICS
        self.tracked = path / names.TRACKED
        self.log = path / names.LOG
        self.checkpoint = path / names.CHECKPOINT
        self.claim_file = path / names.CLAIM
        self.record = path / names.RECORD

    def read(self) -> Result:
        """Return the run's result. Raise `KronaError` if it is missing or damaged."""
        return read_result(self.result)

    def write(self, result: Result, write: Write = write_whole) -> None:
        """Write the run's result, whole or not at all."""
        write_result(self.path, result, write)

    def owner(self) -> Holder | None:
        """Return the live process that works on the run; None if there is none."""
        return claims.owner(self.path)

    def holder(self) -> Holder | None:
        """Return the process that the claim names, alive or not, empty for a damaged claim; None without a claim."""
        return holder.read(self.claim_file) if self.claim_file.is_file() else None

    def claim(self) -> claims.Claim | None:
        """Claim the run for this process; None if a live process has it."""
        return claims.claim(self.path)

    def state(self, *, owned: bool | None = None) -> tuple[State, Result | None, str | None]:
        """Return the run's state, result and error.

        Args:
            owned: whether a live process has claimed the run; None: its claim says.
        """
        try:
            if not self.result.exists():
                return ("running" if self._owned(owned) else "waiting"), None, None
            result = self.read()
        except KronaError as error:
            return "failed", None, str(error)
        except OSError as error:
            return "failed", None, f"{self.path} can't be read: {error.strerror or error}"
        return self.status(result, owned=owned), result, result.error

    def status(self, result: Result, *, owned: bool | None = None) -> Status:
        """Return a result's status as of now: an unfinished run is running only while a live process owns it."""
        if result.status == "done":
            return "done"
        if self._owned(owned):
            return "running"
        return "failed" if result.status == "failed" else "interrupted"

    def _owned(self, known: bool | None) -> bool:
        if known is not None:
            return known
        try:
            return self.owner() is not None
        except OSError:  # the folder is read-only: the age of the claim in it can't be measured
            return True

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of the adapter and the predictions, by name, where they are there."""
        return {file.name: _sha256(file) for file in (self.adapter, self.predictions) if file.is_file()}

    def find_damage(self, result: Result) -> list[str]:
        """Return what is missing or damaged of the files that a finished run wrote."""
        found = []
        for name, expected in (result.provenance.get(CHECKSUMS) or {}).items():
            file = self.path / name
            if file not in (self.adapter, self.predictions):
                continue
            if not file.is_file():
                found.append(f"{file} is gone")
            elif _sha256(file) != expected:
                found.append(f"{file} is damaged or was changed: its SHA-256 is not the one in result.json")
        return found

    def left_over(self, *, done: bool) -> list[Path]:
        """Return the files that are of use only to a process that works on the run."""
        found = [self.claim_file] if self.claim_file.is_file() else []
        with suppress(OSError), os.scandir(self.path) as entries:
            found += sorted(Path(entry.path) for entry in entries if names.LEFT_OVER.fullmatch(entry.name))
        return found + ([self.checkpoint] if done and self.checkpoint.is_file() else [])

    def clean(self, *, done: bool) -> list[Path]:
        """Remove `left_over` while this process has the claim, and return what was removed.

        Nothing is removed if a live process has the claim. Young files stay: they may be those of a process that is
        about to take the run over.

        Raises:
            KronaError: the folder can't be written to, or is a symbolic link.
        """
        found = self.left_over(done=done)
        if not found or (held := self.claim()) is None:
            return []
        try:  # the claim has removed the other files
            if done:
                held.remove(self.checkpoint)
        finally:
            held.release()
        return [path for path in found if not os.path.lexists(path)]

    def remove_attempt(self, held: claims.Claim) -> None:
        """Remove what earlier attempts wrote."""
        for name in (*names.WRITTEN, names.RECORD):
            held.remove(self.path / name)


def _sha256(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        raise KronaError(f"{file} can't be read: {error.strerror or error}") from error


def require_unchanged(result: Result, file: Path) -> None:
    """Raise `KronaError` for a file of a finished run whose content is not what the run wrote."""
    expected = (result.provenance.get(CHECKSUMS) or {}).get(file.name)
    if expected is not None and _sha256(file) != expected:
        raise KronaError(
            f"{file} is damaged or was changed: its SHA-256 is not the one in result.json. Run the run's command with "
            "overwrite=true to make it again."
        )


def run_folders(outputs: Path) -> Iterator[RunFolder]:
    """Yield the folders of ``outputs`` that have a result or a claim, by name."""
    there = sorted(path for path in outputs.iterdir() if not path.name.startswith(".")) if outputs.is_dir() else []
    for path in there:
        try:
            if os.path.lexists(path / names.RESULT) or os.path.lexists(path / names.CLAIM):
                yield RunFolder(path)
        except OSError:  # a folder that may not be looked into
            yield RunFolder(path)


def find_run(outputs: Path, name: str) -> RunFolder:
    """Return a run by its folder, its id, or the beginning of its id. Raise `KronaError` for none or several."""
    given = Path(name)
    with suppress(OSError):  # too long for a path, or in a folder that can't be read
        if (given / names.RESULT).is_file():
            return RunFolder(given)
        if given.is_file() and given.name == names.RESULT:
            return RunFolder(given.parent)
    matches = sorted(path.parent for path in outputs.glob(f"*/{names.RESULT}") if path.parent.name.startswith(name))
    exact = [path for path in matches if path.name == name]
    if len(exact or matches) == 1:
        return RunFolder((exact or matches)[0])
    if not matches:
        raise KronaError(f"no run {name!r} under {outputs}. Give a run's id, its beginning, or its folder.")
    shown = ", ".join(path.name for path in matches[:5]) + (" …" if len(matches) > 5 else "")
    raise KronaError(f"{len(matches)} runs begin with {name!r}: {shown}")
