"""Content of a data file as text: unpacked from gzip and decoded from UTF-8, or one error with the way out."""

import codecs
import gzip
import shlex
import zlib
from pathlib import Path

from krona.messages import KronaError

GZIP = b"\x1f\x8b"
MARKS: dict[bytes, str] = {  # UTF-32 first: its little-endian mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def read_bytes(path: Path) -> bytes:
    """A file's bytes, unpacked if its name ends in .gz. Raises KronaError if there are none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        place = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise KronaError(f"{path}: no such file{place}") from error
    except OSError as error:
        raise KronaError(f"{path} cannot be read: {error.strerror}") from error
    if _is_packed(path) and data:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise KronaError(f"{path} is not a whole gzip file: {error}") from error
    if not data.removeprefix(codecs.BOM_UTF8).strip():
        raise KronaError(f"{path} is empty ({len(data)} bytes)")
    return data


def read_text(path: Path) -> str:
    """A file's text without its byte-order mark. Line ends of CR alone become LF; others stay."""
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, data, error.start) from error
    if "\0" in text:  # UTF-16 of plain English is valid UTF-8, full of NULs
        raise _not_utf8(path, data, data.index(0))
    return text if "\n" in text.rstrip("\r\n") else text.replace("\r\n", "\n").replace("\r", "\n")


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _not_utf8(path: Path, data: bytes, offset: int) -> KronaError:
    line = data.count(b"\n" if b"\n" in data else b"\r", 0, offset) + 1
    kind = Path(path.stem if _is_packed(path) else path.name).suffix
    if data.startswith(GZIP):
        return KronaError(f"{path}: a gzip file: its name must end in {kind}.gz")
    encoding = _encoding(data)
    what = f"{'not UTF-8' if encoding else 'not text'}: byte 0x{data[offset]:02x} at offset {offset}"
    command = f"iconv -f {encoding} -t UTF-8" if encoding else r"tr -d '\000'"
    name, out = shlex.quote(path.name), f"{'utf8' if encoding else 'clean'}{kind}"
    command = f"gzip -dc {name} | {command}" if _is_packed(path) else f"{command} < {name}"
    way_out = f"It looks like {encoding}; convert it" if encoding else "Remove such bytes"
    return KronaError(f"{path}:{line}: {what}. {way_out}, for example: {command} > {out}")


def _encoding(data: bytes) -> str | None:
    """The encoding that fits bytes which are not UTF-8, as iconv names it. None: UTF-8 with a stray NUL."""
    for mark, name in MARKS.items():
        if data.startswith(mark):
            return name
    if 0 in data[:2]:  # of an English letter at the beginning
        return "UTF-16BE" if data[0] == 0 else "UTF-16LE"
    fitting = next((name for name in ("UTF-8", "CP1252", "LATIN1") if _fits(data, name)), None)  # LATIN1 fits anything
    return None if fitting == "UTF-8" else fitting


def _fits(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
