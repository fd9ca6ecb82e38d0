"""`RunFolder`: the files of one run, their state and checksums, and the files that a killed process left."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from krona.files import Write, link_target, sha256, write_whole
from krona.messages import KronaError, shorten
from krona.runs import claim as claims
from krona.runs import file_names
from krona.runs.holder import Holder, read_holder
from krona.runs.result import Result, Status, read_result, write_result

State = Literal["done", "running", "interrupted", "failed", "waiting", "wrong"]
OPEN: tuple[State, ...] = ("waiting", "running", "interrupted")  # not finished
CHECKSUMS = "sha256"  # key of the provenance; results of earlier versions have none
CHANGED = "is damaged or was changed: its SHA-256 differs from the one in result.json"


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
        self.result = path / file_names.RESULT
        self.adapter = path / file_names.ADAPTER
        self.predictions = path / file_names.PREDICTIONS
        self.metrics = path / file_names.METRICS
        self.tracked = path / file_names.TRACKED
        self.log = path / file_names.LOG
        self.checkpoint = path / file_names.CHECKPOINT
        self.claim_file = path / file_names.CLAIM
        self.record = path / file_names.RECORD

    def read(self) -> Result:
        """Return the run's result. Raise `KronaError` if it is missing or damaged."""
        return read_result(self.result)

    def write(self, result: Result, write: Write = write_whole) -> None:
        """Write the run's result atomically."""
        write_result(self.path, result, write)

    def owner(self) -> Holder | None:
        """Return the live process that works on the run; None if there is none."""
        return claims.owner(self.path)

    def holder(self) -> Holder | None:
        """Return the process that the claim names, alive or not, empty for a damaged claim; None without a claim."""
        return read_holder(self.claim_file) if self.claim_file.is_file() else None

    def claim(self) -> claims.Claim | None:
        """Claim the run for this process; None if a live process has it."""
        return claims.claim(self.path)

    def state(self, *, owned: bool | None = None) -> tuple[State, Result | None, str | None]:
        """Return the run's state, result and error.

        Args:
            owned: whether a live process has claimed the run; None: read its claim.
        """
        try:
            if not self.result.exists():
                return ("running" if self._is_owned(owned) else "waiting"), None, None
            result = self.read()
        except KronaError as error:
            return "failed", None, str(error)
        except OSError as error:
            return "failed", None, f"{self.path} can't be read: {error.strerror or error}"
        return self.status(result, owned=owned), result, result.error

    def status(self, result: Result, *, owned: bool | None = None) -> Status:
        """Return a result's current status: an unfinished run is running only while a live process owns it."""
        if result.status == "done":
            return "done"
        if self._is_owned(owned):
            return "running"
        return "failed" if result.status == "failed" else "interrupted"

    def _is_owned(self, known: bool | None) -> bool:
        if known is not None:
            return known
        try:
            return self.owner() is not None
        except OSError:  # the folder is read-only, so the age of its claim can't be measured
            return True

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of the adapter and the predictions, by name, for the files that exist."""
        return {file.name: _sha256(file) for file in (self.adapter, self.predictions) if file.is_file()}

    def find_damage(self, result: Result) -> list[str]:
        """Return a message for each missing or damaged file of a finished run."""
        recorded = result.provenance.get(CHECKSUMS) or {}
        files = [file for file in (self.adapter, self.predictions) if file.name in recorded]
        missing = [f"{file} is gone" for file in files if not file.is_file()]
        return missing + [f"{file} {CHANGED}" for file in files if file.is_file() and is_changed(result, file)]

    def leftovers(self, *, done: bool) -> list[Path]:
        """Return the files that only a process that works on the run needs."""
        found = [self.claim_file] if self.claim_file.is_file() else []
        with suppress(OSError), os.scandir(self.path) as entries:
            found += sorted(Path(entry.path) for entry in entries if file_names.LEFT_OVER.fullmatch(entry.name))
        return found + ([self.checkpoint] if done and self.checkpoint.is_file() else [])

    def clean(self, *, done: bool) -> list[Path]:
        """Claim the run, remove `leftovers`, and return the removed files.

        Nothing is removed if a live process has the claim. Recent files stay: a process that is about to take the run
        over may have made them.

        Raises:
            KronaError: the folder can't be written to, or is a symbolic link.
        """
        found = self.leftovers(done=done)
        if not found or (claim := self.claim()) is None:
            return []
        try:  # claiming has removed all files but the checkpoint
            if done:
                claim.remove(self.checkpoint)
        finally:
            claim.release()
        return [path for path in found if not os.path.lexists(path)]

    def remove_attempt(self, claim: claims.Claim) -> None:
        """Remove the files of earlier attempts."""
        for name in (*file_names.WRITTEN, file_names.RECORD):
            claim.remove(self.path / name)


def _sha256(file: Path) -> str:
    try:
        return sha256(file)
    except OSError as error:
        raise KronaError(f"{file} can't be read: {error.strerror or error}") from error


def is_changed(result: Result, file: Path) -> bool:
    """Return whether a file of a finished run was changed since; false if its SHA-256 was not recorded."""
    expected = (result.provenance.get(CHECKSUMS) or {}).get(file.name)
    return expected is not None and _sha256(file) != expected


def require_unchanged(result: Result, file: Path) -> None:
    """Raise `KronaError` for a file of a finished run that was changed since the run wrote it."""
    if is_changed(result, file):
        raise KronaError(f"{file} {CHANGED}. Run the run's command with overwrite=true to make it again.")


def run_folders(outputs: Path) -> Iterator[RunFolder]:
    """Yield the folders of ``outputs`` that have a result or a claim, by name."""
    for path in sorted(outputs.iterdir()) if outputs.is_dir() else []:
        with suppress(OSError):  # a folder that can't be read counts as a run
            if path.name.startswith(".") or not any(
                os.path.lexists(path / name) for name in (file_names.RESULT, file_names.CLAIM)
            ):
                continue
        yield RunFolder(path)


def find_run(outputs: Path, name: str) -> RunFolder:
    """Return a run by its folder, its id, or the beginning of its id. Raise `KronaError` for none or several."""
    given = Path(name)
    with suppress(OSError):  # too long for a path, or in a folder that can't be read
        if (given / file_names.RESULT).is_file():
            return RunFolder(given)
        if given.is_file() and given.name == file_names.RESULT:
            return RunFolder(given.parent)
    matches = sorted(
        path.parent for path in outputs.glob(f"*/{file_names.RESULT}") if path.parent.name.startswith(name)
    )
    exact = [path for path in matches if path.name == name]
    if len(exact or matches) == 1:
        return RunFolder((exact or matches)[0])
    if not matches:
        raise KronaError(f"no run {name!r} under {outputs}. Give a run's id, its beginning, or its folder.")
    shown = ", ".join(path.name for path in matches[:5]) + (" …" if len(matches) > 5 else "")
    raise KronaError(f"{len(matches)} runs begin with {name!r}: {shown}")


def require_out(path: Path) -> None:
    """Raise `KronaError` if a command's output file can't be written, or is one of a run's files."""
    try:
        if path.is_dir():
            raise KronaError(f"{path} is a folder. Give the name of a file in it.")
        target = link_target(path)
        result = target.with_name(file_names.RESULT)
        if target == result or (target.name in file_names.OWN and result.exists()):
            raise KronaError(f"{path} is a run's own file. Choose another name.")
    except (OSError, RuntimeError) as error:  # a name too long, a loop of links
        raise KronaError(f"{shorten(path)} can't be written: {getattr(error, 'strerror', None) or error}") from error


def require_new(path: Path, *, overwrite: bool) -> None:
    """Do the checks of `require_out`, and raise `KronaError` if the file exists, unless it is to be replaced."""
    require_out(path)
    if path.exists() and not overwrite:
        raise KronaError(f"{path} exists. Use --overwrite to replace it.")
