"""Claims on runs: a file in a run's folder names the process that owns it, and a heartbeat touches the file.

Claims need only a file system that creates files exclusively and renames them atomically, so network file systems work
too. A claim lapses immediately if its owner is known to be dead: a process of this machine, or this SLURM job before it
was requeued. Otherwise it lapses `LAPSE_S` after its last heartbeat by the file system's clock, because machines'
clocks may differ, if it then shows no heartbeat while it is watched for `WATCH_S`.

Each owner has a private staging folder, named after its token. It changes a run's files only by renaming: out of this
folder to publish, into it to remove. The next owner moves all other staging folders into its own before it reads the
run. A process that was stopped, at any instruction, and continues later therefore has nothing to rename: it can neither
replace nor remove what the new owner wrote. This needs no lock.
"""

import os
import threading
import uuid
from contextlib import suppress
from pathlib import Path

from krona.files import Fill, opened_below, remove_below, write_whole
from krona.messages import KronaError
from krona.runs import file_names
from krona.runs.holder import LAPSE_S, Holder, claim_text, has_lapsed, read_holder, stands_still

BEAT_S = 5.0


class ClaimLostError(KronaError):
    """Another process took the run over, or its folder is gone."""


class Claim:
    """The claim of this process on a run's folder."""

    def __init__(self, folder: Path, token: str) -> None:
        self.path = folder / file_names.CLAIM
        self.token = token
        self.staging = _staging(folder, token)
        self._stop = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, name=f"claim of {folder.name}", daemon=True)
        self._heartbeat.start()

    def check(self) -> None:
        """Raise `ClaimLostError` if another process has the claim, or if it is gone with its folder."""
        owner, run = read_holder(self.path), self.path.parent
        if owner.get("token") == self.token and self.staging.is_dir():
            return
        if not run.is_dir() or (not owner and self.staging.is_dir()):
            raise ClaimLostError(
                f"{run} is gone (a shared folder that is no longer mounted?). The run stopped and wrote nothing; the "
                "same command resumes it when the folder is available again."
            )
        by = describe(owner) if owner else "a process that has ended (or its files were removed)"
        raise ClaimLostError(
            f"{run.name}: this run was taken over by {by} while this process was stopped. This process ends; it has "
            "written nothing since then."
        )

    def write(self, path: Path, fill: Fill) -> None:
        """Write a file of the run atomically. Raise `ClaimLostError`, with nothing changed, if the claim is lost."""
        self.check()
        try:
            write_whole(path, fill, part_in=self.staging)
        except KronaError:
            self.check()  # the claim was lost meanwhile: that is the reason
            raise

    def remove(self, path: Path) -> None:
        """Remove a file of the run if it exists. Raise `ClaimLostError` as `write` does."""
        if (aside := self._move_to_staging(path)) is not None:
            remove_below(self.path.parent, aside)

    def set_aside(self, path: Path) -> Path:
        """Rename a damaged file of the run to ``NAME.damaged``. Raise `ClaimLostError` as `write` does."""
        name = path.with_name(f"{path.name}.damaged")
        if (aside := self._move_to_staging(path)) is not None:
            with suppress(FileNotFoundError):  # the claim was lost meanwhile
                aside.rename(name)
        self.check()
        return name

    def _move_to_staging(self, path: Path) -> Path | None:
        """Rename a file of the run into the staging folder; None if it is missing. Links are not followed."""
        self.check()
        aside = self.staging / uuid.uuid4().hex
        try:
            with opened_below(self.path.parents[1], path.parent) as folder:
                os.rename(path.name, aside, src_dir_fd=folder)
        except FileNotFoundError:
            self.check()
            return None
        return aside

    def release(self) -> None:
        """Remove the claim if this process still has it."""
        self._stop.set()
        self._heartbeat.join()
        if read_holder(self.path).get("token") == self.token:
            with suppress(OSError):  # gone with its folder, or lost
                self.path.rename(self.staging / "released")
        remove_below(self.path.parents[1], self.staging)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            with suppress(OSError):
                if read_holder(self.path).get("token") == self.token:
                    os.utime(self.path)


def claim(folder: Path) -> Claim | None:
    """Claim a run's folder, which is created if needed; None if a live owner has it.

    Files that killed processes left in the folder are removed.

    Raises:
        KronaError: the folder can't be written to, or is a symbolic link.
    """
    try:
        if folder.is_symlink():
            raise KronaError(f"{folder} is a symbolic link, and nothing behind it is changed. Remove the link.")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / file_names.CLAIM
        for _ in range(3):  # the claim may be released or taken over meanwhile
            token = uuid.uuid4().hex
            if _create(path, token):
                staging = _staging(folder, token)
                staging.mkdir()
                if _exclude_others(path, staging, token):
                    return Claim(folder, token)
                remove_below(folder.parent, staging)
            holder = read_holder(path).get("token", "damaged")
            if not has_lapsed(path) or not stands_still(path):
                return None
            if _take_over(path, str(holder), token):
                return Claim(folder, token)
    except OSError as error:
        raise KronaError(f"{folder} can't be written to: {error.strerror or error}") from error
    return None


def owner(folder: Path) -> Holder | None:
    """Return the live owner of a run's folder, or None."""
    path = folder / file_names.CLAIM
    return None if not path.exists() or has_lapsed(path) else read_holder(path)


def describe(holder: Holder) -> str:
    """Return ``process 12 on host``."""
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"


def _create(path: Path, token: str) -> bool:
    """Create a claim if there is none. Another process may read it half-written; that counts as a claim."""
    try:
        file = path.open("x")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(claim_text(token))
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _take_over(path: Path, holder: str, token: str) -> bool:
    """Replace a lapsed claim. If several processes try, only the one that creates the marker may."""
    marker = path.with_name(f".takeover.{holder}")
    if not _create(marker, token):
        if has_lapsed(marker):  # its creator died here: the next attempt can succeed
            marker.unlink(missing_ok=True)
        return False
    staging = _staging(path.parent, token)
    taken = False
    try:
        staging.mkdir()  # before the claim is read: whoever takes it over after that finds the folder
        if str(read_holder(path).get("token", "damaged")) == holder and has_lapsed(path):  # still the same dead holder
            part = staging / path.name
            part.write_text(claim_text(token))
            part.replace(path)
            taken = _exclude_others(path, staging, token)
    except FileNotFoundError:  # this process was stopped here until another took the claim over
        pass
    finally:
        with suppress(FileNotFoundError):
            marker.rename(staging / marker.name)  # fails if this process was stopped: the marker may be another's
            (staging / marker.name).unlink()
        if not taken:
            remove_below(path.parents[1], staging)
    return taken


def _staging(folder: Path, token: str) -> Path:
    return folder / f"{file_names.STAGING}{token}"


def _exclude_others(path: Path, staging: Path, token: str) -> bool:
    """Move all other staging folders into the owner's, whose claim is on disk. False if that was taken over."""
    with suppress(FileNotFoundError):  # this process was stopped here until another took the claim over
        if read_holder(path).get("token") == token:
            for other in set(path.parent.glob(f"{file_names.STAGING}*")) - {staging}:
                with suppress(FileNotFoundError):
                    other.rename(staging / other.name)
            _remove_leftovers(path, staging)
    return read_holder(path).get("token") == token and staging.is_dir()


def _remove_leftovers(path: Path, staging: Path) -> None:
    """Remove files of killed processes. A recent file may be that of a process that is claiming the run."""
    for file in staging.iterdir():
        remove_below(path.parents[1], file)
    for file in path.parent.iterdir():
        if file_names.LEFT_OVER.fullmatch(file.name) and not file.name.startswith(file_names.STAGING):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime - file.lstat().st_mtime > LAPSE_S:
                    remove_below(path.parents[1], file)
