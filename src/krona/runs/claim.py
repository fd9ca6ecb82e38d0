"""Claims on runs: a file in a run's folder names the process that owns it and is touched by a heartbeat.

Claims need only a file system that creates files exclusively and renames them atomically, so network file systems will
do. A claim lapses immediately if its owner is known to be dead: a process of this machine, or this SLURM job before it
was requeued. Otherwise it lapses `LAPSE_S` after its last beat by the file system's clock, as machines' clocks may
differ, if it then shows no beat while it is watched for `WATCH_S`.

Each owner has a private staging folder, named after its token. It changes a run's files only by renaming: out of this
folder to publish, into it to remove. The next owner moves all other staging folders into its own before it looks at the
run. So a process that was stopped, at whatever instruction, and wakes up late has nothing to rename: it can neither
replace nor remove what the new owner wrote. This needs no lock.
"""

import os
import threading
import uuid
from contextlib import suppress
from pathlib import Path

from krona.files import Fill, opened_below, remove_below, write_whole
from krona.messages import KronaError
from krona.runs import names
from krona.runs.holder import LAPSE_S, Holder, lapsed, own, read, stands_still

BEAT_S = 5.0


class ClaimLostError(KronaError):
    """Another process took the run over, or its folder is gone."""


class Claim:
    """This process's claim on a run's folder."""

    def __init__(self, folder: Path, token: str) -> None:
        self.path = folder / names.CLAIM
        self.token = token
        self.staging = _staging(folder, token)
        self._stop = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, name=f"claim of {folder.name}", daemon=True)
        self._heartbeat.start()

    def check(self) -> None:
        """Raise `ClaimLostError` if the claim is no longer this process's, or is gone with its folder."""
        owner, run = read(self.path), self.path.parent
        if owner.get("token") == self.token and self.staging.is_dir():
            return
        if not run.is_dir() or (not owner and self.staging.is_dir()):
            raise ClaimLostError(
                f"{run} is gone (a shared folder that is no longer mounted?): the run stops here and "
                "writes nothing; the same command resumes it when the folder is back"
            )
        by = describe(owner) if owner else "a process that has ended (or its files were removed)"
        raise ClaimLostError(
            f"{run.name}: this run was taken over by {by} while this one was stopped. It ends here; since then it "
            "has written nothing"
        )

    def write(self, path: Path, fill: Fill) -> None:
        """Write a file of the run whole, unless the claim is lost: then `ClaimLostError`, and nothing is changed."""
        self.check()
        try:
            write_whole(path, fill, part_in=self.staging)
        except KronaError:
            self.check()  # lost in between: that is the reason
            raise

    def remove(self, path: Path) -> None:
        """Remove a file of the run, if it is there, unless the claim is lost: then `ClaimLostError`."""
        if (aside := self._move_to_staging(path)) is not None:
            remove_below(self.path.parent, aside)

    def set_aside(self, path: Path) -> Path:
        """Rename a damaged file of the run to ``NAME.damaged``, unless the claim is lost, as in `remove`."""
        name = path.with_name(f"{path.name}.damaged")
        if (aside := self._move_to_staging(path)) is not None:
            with suppress(FileNotFoundError):  # lost in between
                aside.rename(name)
        self.check()
        return name

    def _move_to_staging(self, path: Path) -> Path | None:
        """Rename a file of the run into the staging folder; None if it is not there. Links are not followed."""
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
        """Remove the claim, if it is still this process's."""
        self._stop.set()
        self._heartbeat.join()
        if read(self.path).get("token") == self.token:
            with suppress(OSError):  # gone with its folder, or lost
                self.path.rename(self.staging / "released")
        remove_below(self.path.parents[1], self.staging)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            with suppress(OSError):
                if read(self.path).get("token") == self.token:
                    os.utime(self.path)


def claim(folder: Path) -> Claim | None:
    """Claim a run's folder, which is created if needed; None if a live owner has it.

    What killed processes left in the folder is removed.

    Raises:
        KronaError: the folder can't be written to, or is a symbolic link.
    """
    try:
        if folder.is_symlink():
            raise KronaError(f"{folder} is a symbolic link, and nothing behind it is changed. Remove the link.")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / names.CLAIM
        for _ in range(3):  # the claim may be released or taken over in between
            token = uuid.uuid4().hex
            if _create(path, token):
                staging = _staging(folder, token)
                staging.mkdir()
                if _exclude_others(path, staging, token):
                    return Claim(folder, token)
                remove_below(folder.parent, staging)
            holder = read(path).get("token", "damaged")
            if not lapsed(path) or not stands_still(path):
                return None
            if _take_over(path, str(holder), token):
                return Claim(folder, token)
    except OSError as error:
        raise KronaError(f"{folder} can't be written to: {error.strerror or error}") from error
    return None


def owner(folder: Path) -> Holder | None:
    """Return the live owner of a run's folder, or None."""
    path = folder / names.CLAIM
    return None if not path.exists() or lapsed(path) else read(path)


def describe(holder: Holder) -> str:
    """Return ``process 12 on host``."""
    return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"


def _create(path: Path, token: str) -> bool:
    """Create a claim if there is none. A reader may find it half written, which counts as a claim."""
    try:
        file = path.open("x")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(own(token))
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True


def _take_over(path: Path, holder: str, token: str) -> bool:
    """Replace a lapsed claim. Of several processes that try, the one that creates the marker may."""
    marker = path.with_name(f".takeover.{holder}")
    if not _create(marker, token):
        if lapsed(marker):  # its creator died here: the next attempt has a chance
            marker.unlink(missing_ok=True)
        return False
    staging = _staging(path.parent, token)
    taken = False
    try:
        staging.mkdir()  # before the look at the claim: who takes it over after that finds the folder
        if str(read(path).get("token", "damaged")) == holder and lapsed(path):  # else another was faster, or it woke up
            part = staging / path.name
            part.write_text(own(token))
            part.replace(path)
            taken = _exclude_others(path, staging, token)
    except FileNotFoundError:  # stopped here for so long that another took it over
        pass
    finally:
        with suppress(FileNotFoundError):
            marker.rename(staging / marker.name)  # fails for who was stopped: it may be another's by now
            (staging / marker.name).unlink()
        if not taken:
            remove_below(path.parents[1], staging)
    return taken


def _staging(folder: Path, token: str) -> Path:
    return folder / f"{names.STAGING}{token}"


def _exclude_others(path: Path, staging: Path, token: str) -> bool:
    """Move all other staging folders into the owner's, whose claim is on disk. False if that was taken over."""
    with suppress(FileNotFoundError):  # stopped here for so long that another took it over
        if read(path).get("token") == token:
            for other in set(path.parent.glob(f"{names.STAGING}*")) - {staging}:
                with suppress(FileNotFoundError):
                    other.rename(staging / other.name)
            _remove_left_over(path, staging)
    return read(path).get("token") == token and staging.is_dir()


def _remove_left_over(path: Path, staging: Path) -> None:
    """Remove what killed processes left. A young file may be that of a process that tries to claim the run now."""
    for left in staging.iterdir():
        remove_below(path.parents[1], left)
    for left in path.parent.iterdir():
        if names.LEFT_OVER.fullmatch(left.name) and not left.name.startswith(names.STAGING):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime - left.lstat().st_mtime > LAPSE_S:
                    remove_below(path.parents[1], left)
