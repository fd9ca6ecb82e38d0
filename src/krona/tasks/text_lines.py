"""Read the lines of a text file or of standard input, with gzip, UTF-8 and limits of the size.

A small compressed file can unpack to a very large one. The environment variables KRONA_MAX_UNPACKED_GB and
KRONA_MAX_LINE_MB limit the unpacked size of a file and the size of a line.
"""

import codecs
import gzip
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from krona.messages import KronaError

CHUNK = 2**16  # bytes
GZIP = b"\x1f\x8b"
MAX_UNPACKED = ("KRONA_MAX_UNPACKED_GB", 2.0, 2**30)  # environment variable, default, number of bytes in the unit
MAX_LINE = ("KRONA_MAX_LINE_MB", 16.0, 2**20)


def require_file(path: Path) -> int:
    """Return the size of a file in bytes. Raise `KronaError` if the path is not a regular file."""
    try:
        state = path.stat()
    except FileNotFoundError as error:
        place = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise KronaError(f"{path}: no such file{place}.") from error
    except OSError as error:
        raise KronaError(f"{path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(state.st_mode):
        raise KronaError(f"{path} is not a regular file. Give a file, not a folder, a device or a FIFO.")
    return state.st_size


def check_unpacked(name: str, size: int, most: int) -> None:
    """Raise `KronaError` if the unpacked size of a file exceeds a limit that follows from ``MAX_UNPACKED``."""
    if size > most:
        raise KronaError(
            f"{name} unpacks to more than {most:,} bytes. Use plain text, or raise the limit: {MAX_UNPACKED[0]}=N."
        )


class TextFile:
    """The lines of a file, or of standard input if ``path`` is None."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.name = "standard input" if path is None else str(path)
        self.size = None if path is None else require_file(path)  # bytes on the disk
        self.packed = path is not None and path.suffix.lower() == ".gz"
        if self.packed:  # check the unpacked size before any row is kept
            with self._open() as binary:
                for _ in self._chunks(binary):
                    pass
        self._file: BinaryIO | None = None

    @property
    def bytes_read(self) -> int:
        """The number of bytes that have been read so far. It is at most ``size``."""
        if self._file is None:
            return 0
        return (self.size or 0) if self._file.closed else self._file.tell()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def lines(self) -> Iterator[str]:
        """Yield the lines with their line ends. The character CR ends a line only if the file has no character LF.

        Raise `KronaError` if the file is empty, is a damaged gzip file, is not UTF-8 text, or exceeds a limit.
        """
        offset = 0
        for number, raw in enumerate(self._raw_lines(), start=1):
            try:
                text = raw.decode()
                wrong = raw.find(0)  # UTF-16 of plain English is valid UTF-8, full of NULs
            except UnicodeDecodeError as error:
                wrong = error.start
            if wrong >= 0:
                raise KronaError(f"{self.name}:{number}: {_explain_byte(raw, number, wrong, offset + wrong)}")
            offset += len(raw)
            yield text

    def _raw_lines(self) -> Iterator[bytes]:
        longest = read_limit(*MAX_LINE)
        with self._open() as binary:
            chunks = self._chunks(binary)
            text = self._read_head(chunks)
            first = text.rstrip(b"\r\n")
            end = b"\r" if b"\r" in first and b"\n" not in first else b"\n"
            for chunk in chain([b""], chunks):
                *lines, text = (text + chunk).split(end)
                for line in (*lines, text):
                    if len(line) > longest:
                        raise KronaError(
                            f"{self.name} has a line of more than {longest:,} bytes. Split it, or raise the limit: "
                            f"{MAX_LINE[0]}=N."
                        )
                yield from (line + b"\n" for line in lines)
            if text:
                yield text

    def _open(self) -> AbstractContextManager[Any]:
        if self.path is None:
            return nullcontext(sys.stdin.buffer)
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise KronaError(f"{self.name} cannot be read: {error.strerror}.") from error
        return self._file

    def _chunks(self, binary: Any) -> Iterator[bytes]:
        most, total = read_limit(*MAX_UNPACKED), 0
        stream = gzip.GzipFile(fileobj=binary) if self.packed else binary
        while True:
            try:
                chunk = stream.read1(CHUNK)
            except (OSError, EOFError, zlib.error) as error:
                problem = f"is not a complete gzip file: {error}" if self.packed else f"cannot be read: {error}"
                raise KronaError(f"{self.name} {problem}") from error
            if not chunk:
                return
            total += len(chunk)
            if self.packed:
                check_unpacked(self.name, total, most)
            yield chunk

    def _read_head(self, chunks: Iterator[bytes]) -> bytes:
        """Return the beginning of the file with at least one line end, and without the byte-order mark."""
        head = b""
        for chunk in chunks:
            head += chunk
            if len(head) > CHUNK or b"\n" in head.removeprefix(codecs.BOM_UTF8).lstrip():
                break
        text = head.removeprefix(codecs.BOM_UTF8)
        if not text.strip() and len(text) <= CHUNK:
            raise KronaError(f"{self.name} is empty ({len(head)} bytes).")
        if self.path is not None and text.startswith(GZIP):
            raise KronaError(f"{self.name} is a gzip file. Rename it, so that its name ends in {self.path.suffix}.gz.")
        return text


def _explain_byte(line: bytes, number: int, wrong: int, offset: int) -> str:
    if number > 1 and line[wrong] == 0:  # UTF-16 and UTF-32 have NULs in the first line
        return f"NUL byte at offset {offset}. Remove all NUL bytes, for example: tr -d '\\000' < FILE > NEW_FILE"
    encoding = "CP1252" if number > 1 or 0 not in line else "UTF-32" if b"\0\0" in line else "UTF-16"
    return (
        f"not UTF-8: byte 0x{line[wrong]:02x} at offset {offset}. Convert the file to UTF-8, for example: "
        f"iconv -f {encoding} -t UTF-8 FILE > NEW_FILE"
    )


def read_limit(variable: str, default: float, unit: int) -> int:
    """Return the limit in bytes that an environment variable sets. Raise `KronaError` if it is not a number above 0."""
    text = os.environ.get(variable) or str(default)
    try:
        limit = int(float(text) * unit)
    except (ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise KronaError(f"{variable}={text} must be a number above 0.")
    return limit
