"""A run in its own process that is killed, is stopped, or has a full disk at the n-th change of a file.

Counted changes are files that are opened for writing, renamed, removed or flushed to the disk, and created folders.
"""

import builtins
import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from krona.messages import KronaError
from krona.runs import holder
from one_job import run

DONE, FAILED, REFUSED, CRASHED = 0, 3, 4, 9  # exit codes of `run_with`
WRITES = ("open", "fsync", "mkdir")  # operations that fail on a full disk


class Hook:
    """A hook that counts the changes below ``root`` and acts before the n-th change. ``n=0`` only counts."""

    def __init__(self, root: str, act: str, n: int) -> None:
        self.root, self.act, self.n = os.path.realpath(root), act, n
        self.count, self.full = 0, False

    def before(self, name: str, where: Any, folder: int | None) -> None:
        if not self._below(where, folder):
            return
        self.count += 1
        if self.count == self.n and self.act in ("kill", "stop"):
            os.kill(os.getpid(), signal.SIGKILL if self.act == "kill" else signal.SIGSTOP)
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
    """Run in this process, and do ``act`` (kill, stop or full) before the n-th change of a file."""
    holder.WATCH_S = 0.2
    hook = Hook(outputs, act, n)
    hook.install()
    try:
        job, _ = run(values, Path(outputs))
        code = DONE if job.state in ("done", "skipped") else FAILED
        if code == FAILED:
            print(job.error, file=sys.stderr)
    except KronaError as error:
        print(error, file=sys.stderr)
        code = REFUSED
    except BaseException:
        traceback.print_exc()
        code = CRASHED
    if count_to is not None:
        hook.root = "\0"
        Path(count_to).write_text(str(hook.count))
    sys.exit(code)
