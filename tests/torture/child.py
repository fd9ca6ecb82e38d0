"""A run that is killed, stopped or has a full disk at the n-th open, rename, removal, flush or new folder."""

import builtins
import ctypes
import errno
import io
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.runs import claim
from krona.runs.processes import Interrupted, interrupt
from one_job import run

DONE, FAILED, REFUSED, CRASHED = 0, 3, 4, 9  # exit codes of `run_with`
NO_DISK = 5  # exit code of `run_on_small_disk` if this process may not mount a file system
NEW_MOUNTS, NEW_USER, PRIVATE, REMOUNT = 0x20000, 0x10000000, 0x44000, 0x20  # flags of unshare and mount
WRITES = ("open", "fsync", "mkdir")  # operations that fail on a full disk


SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "term": signal.SIGTERM, "int": signal.SIGINT}


class Hook:
    """A hook that counts the changes below ``root`` and acts before the n-th change. ``n=0`` only counts."""

    def __init__(self, root: str, act: str, n: int) -> None:
        self.root, self.act, self.n = os.path.realpath(root), act, n
        self.count, self.full = 0, False

    def before(self, name: str, where: Any, folder: int | None) -> None:
        if not self._below(where, folder):
            return
        self.count += 1
        if self.count == self.n and self.act in SIGNALS:
            os.kill(os.getpid(), SIGNALS[self.act])
        self.full |= self.count == self.n and self.act == "full"
        if self.full and name in WRITES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _below(self, where: Any, folder: int | None) -> bool:
        try:
            if folder is not None:
                where = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), where)
            path = os.readlink(f"/proc/self/fd/{where}") if isinstance(where, int) else os.path.abspath(where)
        except (OSError, TypeError):
            return False
        return path.startswith(self.root)

    def install(self) -> None:
        def wrapped(real: Callable[..., Any], name: str, writes: Callable[..., bool]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                if arguments and writes(*arguments, **named):
                    self.before(name, arguments[0], named.get("dir_fd", named.get("src_dir_fd")))
                return real(*arguments, **named)

            return call

        always = lambda *_, **__: True  # noqa: E731
        for name in ("replace", "rename", "unlink", "remove", "rmdir", "mkdir", "fsync"):
            setattr(os, name, wrapped(getattr(os, name), name, always))
        changes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        os.open = wrapped(os.open, "open", lambda path, flags, *_, **__: bool(flags & changes))
        io.open = builtins.open = wrapped(
            io.open, "open", lambda file, mode="r", *_, **__: not isinstance(file, int) and bool({*mode} & {*"wax+"})
        )


def run_with(values: dict[str, Any], outputs: str, act: str, n: int, count_to: str | None = None) -> None:
    """Run in this process, and do ``act`` (a signal or full) before the n-th change of a file."""
    hook = Hook(outputs, act, n)
    hook.install()
    code = attempt(values, outputs)
    if count_to is not None:
        hook.root = "\0"
        Path(count_to).write_text(str(hook.count))
    sys.exit(code)


def run_on_small_disk(values: dict[str, Any], outputs: str, options: str, copy: str) -> None:
    """Run on a file system in memory with the options, then again with enough space. Copy its content to ``copy``."""
    libc, where = ctypes.CDLL(None, use_errno=True), outputs.encode()
    root = os.geteuid() == 0
    ids = os.geteuid(), os.getegid()
    if libc.unshare(NEW_MOUNTS | (0 if root else NEW_USER)):
        sys.exit(NO_DISK)
    if not root:
        Path("/proc/self/setgroups").write_text("deny")
        for name, number in zip(("uid_map", "gid_map"), ids, strict=True):
            Path("/proc/self", name).write_text(f"{number} {number} 1")
    if libc.mount(None, b"/", None, PRIVATE, None) or libc.mount(b"tmpfs", where, b"tmpfs", 0, options.encode()):
        sys.exit(NO_DISK)
    first = attempt(values, outputs)
    libc.mount(b"tmpfs", where, b"tmpfs", REMOUNT, b"size=64m,nr_inodes=0")
    again = attempt(values, outputs)
    shutil.copytree(outputs, copy)
    sys.exit(CRASHED if first == CRASHED else again)


def attempt(values: dict[str, Any], outputs: str) -> int:
    """Run in this process, with the signal handlers of the command line. Return an exit code."""
    claim.WATCH_S = 0.2
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        job, _ = run(values, Path(outputs))
        code = DONE if job.state in ("done", "done already") else FAILED
        if code == FAILED:
            print(job.error, file=sys.stderr)
    except KronaError as error:
        print(error, file=sys.stderr)
        code = REFUSED
    except Interrupted:
        code = FAILED
    except BaseException:
        traceback.print_exc()
        code = CRASHED
    return code
