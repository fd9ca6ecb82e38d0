"""Lines of a text file or of standard input, read as a stream: unpacked from gzip and decoded from UTF-8.

Whatever is wrong with a file is one KronaError with the way out. Two limits keep a small file from filling the memory:
the environment variables KRONA_MAX_UNPACKED_GB and KRONA_MAX_LINE_MB change them.
"""

import codecs
import gzip
import os
import shlex
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
MARKS: dict[bytes, str] = {  # UTF-32 first: its little-endian mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
MAX_UNPACKED = ("KRONA_MAX_UNPACKED_GB", 2.0, 2**30)  # variable, default, bytes of its unit
MAX_LINE = ("KRONA_MAX_LINE_MB", 16.0, 2**20)


def require_file(path: Path) -> int:
    """Return a file's size in bytes. Raises KronaError for a missing file, a folder, a device or a FIFO."""
    try:
        state = path.stat()
    except FileNotFoundError as error:
        place = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise KronaError(f"{path}: no such file{place}") from error
    except OSError as error:
        raise KronaError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(state.st_mode):
        raise KronaError(f"{path} is not a regular file. Give a file, not a folder, a device or a FIFO.")
    return state.st_size


class TextFile:
    """The lines of a file, or of standard input where ``path`` is None.

    name: in messages. size: bytes on the disk; None for standard input.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.name = "standard input" if path is None else str(path)
        self.size = None if path is None else require_file(path)
        self.packed = path is not None and path.suffix.lower() == ".gz"
        if self.packed:  # a small file may unpack to a huge one: find out before any row is kept
            with self._opened() as binary:
                for _ in self._chunks(binary):
                    pass
        self._file: BinaryIO | None = None
        self._head = b""

    @property
    def bytes_read(self) -> int:
        """Return the number of bytes that have been read, of ``size``."""
        if self._file is None:
            return 0
        return (self.size or 0) if self._file.closed else self._file.tell()

    def lines(self) -> Iterator[str]:
        """The lines with their ends. In a file without LF, CR ends a line; elsewhere it is text.

        Raises:
            KronaError: no text, a damaged gzip file, a character that is not UTF-8, a limit.
        """
        offset = 0
        for number, raw in enumerate(self._raw_lines(), start=1):
            try:
                text = raw.decode()
                wrong = raw.find(0)  # UTF-16 of plain English is valid UTF-8, full of NULs
            except UnicodeDecodeError as error:
                wrong = error.start
            if wrong >= 0:
                raise self._not_utf8(raw, wrong, line=number, offset=offset + wrong)
            offset += len(raw)
            yield text

    def _raw_lines(self) -> Iterator[bytes]:
        longest = _limit(*MAX_LINE)
        with self._opened() as binary:
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

    def _opened(self) -> AbstractContextManager[Any]:
        if self.path is None:
            return nullcontext(sys.stdin.buffer)
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise KronaError(f"{self.name} cannot be read: {error.strerror}") from error
        return self._file

    def _chunks(self, binary: Any) -> Iterator[bytes]:
        most, total = _limit(*MAX_UNPACKED), 0
        stream = gzip.GzipFile(fileobj=binary) if self.packed else binary
        while True:
            try:
                chunk = stream.read1(CHUNK)
            except (OSError, EOFError, zlib.error) as error:
                what = f"is not a whole gzip file: {error}" if self.packed else f"cannot be read: {error}"
                raise KronaError(f"{self.name} {what}") from error
            if not chunk:
                return
            total += len(chunk)
            if self.packed and total > most:
                raise KronaError(
                    f"{self.name} unpacks to more than {most:,} bytes. Unpack it first, or raise the limit: "
                    f"{MAX_UNPACKED[0]}=N."
                )
            yield chunk

    def _read_head(self, chunks: Iterator[bytes]) -> bytes:
        """The beginning with at least a line end, without the byte-order mark."""
        for chunk in chunks:
            self._head += chunk
            if len(self._head) > CHUNK or b"\n" in self._head.removeprefix(codecs.BOM_UTF8).lstrip():
                break
        text = self._head.removeprefix(codecs.BOM_UTF8)
        if not text.strip() and len(text) <= CHUNK:
            raise KronaError(f"{self.name} is empty ({len(self._head)} bytes)")
        if self.path is not None and text.startswith(GZIP):
            raise KronaError(f"{self.name}: a gzip file: its name must end in {self.path.suffix}.gz")
        return text

    def _not_utf8(self, raw: bytes, wrong: int, *, line: int, offset: int) -> KronaError:
        encoding = _encoding(self._head + raw, utf8=raw[wrong] == 0)
        what = f"{'not UTF-8' if encoding else 'not text'}: byte 0x{raw[wrong]:02x} at offset {offset}"
        command = f"iconv -f {encoding} -t UTF-8" if encoding else r"tr -d '\000'"
        if self.path is not None:
            kind = Path(self.path.stem if self.packed else self.path.name).suffix
            name, out = shlex.quote(self.path.name), f"{'utf8' if encoding else 'clean'}{kind}"
            command = f"gzip -dc {name} | {command}" if self.packed else f"{command} < {name}"
            command = f"{command} > {out}"
        way_out = f"It looks like {encoding}; convert it" if encoding else "Remove such bytes"
        return KronaError(f"{self.name}:{line}: {what}. {way_out}, for example: {command}")


def _limit(variable: str, default: float, unit: int) -> int:
    """A limit in bytes. Raises KronaError where the environment variable is not a number above 0."""
    text = os.environ.get(variable) or str(default)
    try:
        bytes_ = int(float(text) * unit)
    except (ValueError, OverflowError):
        bytes_ = 0
    if bytes_ < 1:
        raise KronaError(f"{variable}={text}: expected a number above 0.")
    return bytes_


def _encoding(data: bytes, *, utf8: bool) -> str | None:
    """The encoding that fits bytes which are not text in UTF-8, as iconv names it. None: UTF-8 with a stray NUL."""
    for mark, name in MARKS.items():
        if data.startswith(mark):
            return name
    if 0 in data[:2]:  # of an English letter at the beginning
        return "UTF-16BE" if data[0] == 0 else "UTF-16LE"
    if utf8:
        return None
    try:
        data.decode("CP1252")
    except UnicodeDecodeError:
        return "LATIN1"  # fits anything
    return "CP1252"
