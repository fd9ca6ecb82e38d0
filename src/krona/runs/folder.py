"""Read, check and clean the folder of one run, and find run folders by name."""

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from krona.messages import KronaError, shorten
from krona.runs import claim as claims
from krona.runs import result as results
from krona.runs.result import CHANGED, CHECKSUMS, RESULT, WRITTEN, Result, State, Status, read_result
from krona.safe_files import link_target, sha256


@dataclass(frozen=True)
class RunState:
    """The state of a run, with its result and its error message if there are any.

    This is the outcome of a job, and also what a plan or a status says of a run.
    """

    run_id: str  # the run id, or the overrides if the config is invalid
    state: State
    folder: Path  # does not exist before the run has started
    result: Result | None = None
    error: str | None = None
    messages: Sequence[str] = ()  # only for a run that was done already
    config: dict[str, Any] | None = None  # only for a run that was planned from a command
    overrides: tuple[str, ...] = ()  # only for a run that was planned from a command


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.result = path / RESULT
        self.adapter = path / results.ADAPTER
        self.predictions = path / results.PREDICTIONS
        self.metrics = path / results.METRICS
        self.log = path / results.LOG
        self.checkpoint = path / results.CHECKPOINT  # saved after each epoch; removed when the run is done
        self.claim_file = path / claims.CLAIM  # exists while a process works on the run
        self.hydra_folder = path / results.HYDRA  # the folder with Hydra's files

    def read(self) -> Result:
        """Return the run's result.

        Raises:
            KronaError: result.json is missing or damaged.
        """
        return read_result(self.result)

    def is_written_by_krona(self) -> bool:
        """Return whether result.json begins as krona writes it, with this folder's name.

        The rest of the file may be damaged.
        """
        try:
            with self.result.open(encoding="utf-8", errors="replace") as file:
                head = file.read(1000)
        except OSError:
            return False
        name = re.escape(json.dumps(self.path.name, ensure_ascii=False))
        return re.match(rf'\{{\s*"run_id": {name},\s*"status": "', head) is not None

    def claim(self) -> claims.Claim | None:
        """Claim the run for this process. Return the claim, or None if another live process has claimed the run."""
        return claims.claim(self.path)

    def state(self, *, ignore_claim: bool = False) -> RunState:
        """Return the run's state.

        With ``ignore_claim``, an unfinished run does not count as running, even if a live process has claimed the run.
        """
        name = self.path.name
        try:
            if not self.result.exists():
                return RunState(name, "running" if not ignore_claim and self.is_owned() else "waiting", self.path)
            result = self.read()
        except KronaError as error:
            return RunState(name, "damaged", self.path, error=str(error))
        except OSError as error:
            return RunState(name, "damaged", self.path, error=f"{self.path} cannot be read: {error.strerror or error}")
        return RunState(name, self.status(result, ignore_claim=ignore_claim), self.path, result, result.error)

    def status(self, result: Result, *, ignore_claim: bool = False) -> Status:
        """Return the current status of a result. An unfinished run is running only if a live process claims the run."""
        if result.status == "done":
            return "done"
        if not ignore_claim and self.is_owned():
            return "running"
        return "failed" if result.status == "failed" else "interrupted"

    def is_owned(self) -> bool:
        """Return whether a live process works on the run."""
        try:
            return self.claim_file.exists() and not claims.has_lapsed(self.claim_file)
        except OSError:  # the age of the claim cannot be measured in a read-only folder
            return True

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of the adapter and the predictions by file name, if they exist."""
        return {file.name: sha256(file) for file in (self.adapter, self.predictions) if file.is_file()}

    def find_damage(self, result: Result) -> list[str]:
        """Return a message for each missing or damaged file of a finished run."""
        recorded = result.provenance.get(CHECKSUMS) or {}
        files = [file for file in (self.adapter, self.predictions) if file.name in recorded]
        missing = [f"{file} does not exist" for file in files if not file.is_file()]
        return missing + [f"{file} {CHANGED}" for file in files if file.is_file() and is_changed(result, file)]

    def clean(self) -> None:
        """Remove the checkpoint of a finished run and the files of killed processes.

        Remove nothing if a live process has claimed the run, or if the folder is read-only. Keep recent files, because
        they may belong to a process that is taking over the run.
        """
        own = (results.CHECKPOINT, claims.CLAIM)
        with suppress(KronaError, OSError):
            names = os.listdir(self.path)
            is_clean = not any(name in own or claims.PART.fullmatch(name) for name in names)
            if is_clean or (claim := self.claim()) is None:
                return
            try:  # `claim` has already removed the other files
                claim.remove(self.checkpoint)
            finally:
                claim.release()

    def remove_attempt(self, claim: claims.Claim) -> None:
        """Remove the files of earlier attempts."""
        for name in (*WRITTEN, results.HYDRA):
            claim.remove(self.path / name)


def is_changed(result: Result, file: Path) -> bool:
    """Return whether a file's SHA-256 differs from the SHA-256 in ``result``, or false if ``result`` has none."""
    expected = (result.provenance.get(CHECKSUMS) or {}).get(file.name)
    return expected is not None and sha256(file) != expected


def require_unchanged(result: Result, file: Path) -> None:
    """Raise `KronaError` if a file of a finished run was changed after the run."""
    if is_changed(result, file):
        raise KronaError(f"{file} {CHANGED}. Repeat the run's command with overwrite=true to train again.")


def find_run(outputs: Path, name: str) -> RunFolder:
    """Return the folder of a run.

    Args:
        name: a run id, the path of a run's folder or of its result.json, or the beginning of a run id. These meanings
            are tried in this order.

    Raises:
        KronaError: no run, or more than one run, matches the name.
    """
    given = Path(name)
    if given.name == RESULT:
        given = given.parent
    with suppress(OSError):  # the name is too long for a path, or the folder cannot be read
        if given.name == name and (outputs / name / RESULT).is_file():
            return RunFolder(outputs / name)
        if (given / RESULT).is_file():
            return RunFolder(given.resolve() if given.name in ("", "..") else given)
    matches = sorted(path.parent for path in outputs.glob(f"*/{RESULT}") if name and path.parent.name.startswith(name))
    if len(matches) == 1:
        return RunFolder(matches[0])
    if not matches:
        raise KronaError(
            f"No run {name!r} was found in {outputs}. Give the beginning of an id that krona list shows, or a folder."
        )
    shown = ", ".join(path.name for path in matches[:5]) + (" …" if len(matches) > 5 else "")
    raise KronaError(f"The ids of {len(matches)} runs begin with {name!r}: {shown}. Give more characters.")


def require_out(path: Path) -> None:
    """Raise `KronaError` if an output path is not writable, is a folder, or is a file of a run."""
    try:
        if path.is_dir():
            raise KronaError(f"{path} is a folder. Give the name of a file in it.")
        target = link_target(path)
        result = target.with_name(RESULT)
        if target == result or (target.name in (*WRITTEN, claims.CLAIM) and result.exists()):
            raise KronaError(f"{path} is a file of a run. Choose another name for the output.")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            reason = "read-only" if folder.is_dir() else "not a folder"
            raise KronaError(f"{path} cannot be written, because {folder} is {reason}.")
    except OSError as error:  # for example, if the name is too long
        raise KronaError(f"{shorten(path)} cannot be written: {error.strerror or error}") from error


def require_new(path: Path, *, overwrite: bool, source: str | None = None) -> None:
    """Check an output path with `require_out`. Raise `KronaError` if the file exists and ``overwrite`` is false.

    ``source`` is the input file of the command, which the output must not replace.
    """
    require_out(path)
    if source is not None and os.path.exists(source) and path.exists() and path.samefile(source):
        raise KronaError(f"{path} is the input file. Choose another name for the output.")
    if path.exists() and not overwrite:
        raise KronaError(f"{path} exists. Use --overwrite to replace it.")
