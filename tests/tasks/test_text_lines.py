"""Test text files: advice for other encodings, and limits for files that are too large or never end."""

import gzip
import os
import re
from pathlib import Path

import pytest

from krona.messages import KronaError
from krona.tasks import Data, InputRows, data_fingerprint
from krona.tasks.sources import require_files
from tasks.own_task import lines, mood, read, texts


def test_a_cr_within_a_line_stays_text(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes("\n".join([*lines(12, sep="\t"), "one\rtwo\tsad"]).encode())
    assert "text: one\rtwo" in texts(read(tmp_path / "a.tsv")).values()


@pytest.mark.parametrize(
    ("encoding", "advice"), [("cp1252", "CP1252"), ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("utf-32", "UTF-32")]
)
@pytest.mark.parametrize("packed", [False, True])
def test_another_encoding_is_refused(encoding: str, advice: str, packed: bool, tmp_path: Path) -> None:
    file = tmp_path / f"my mood.csv{'.gz' if packed else ''}"
    content = "\n".join([*lines(12), "a “café”,sad"]).encode(encoding)
    file.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(KronaError, match=rf"{re.escape(file.name)}:\d+: not UTF-8: byte 0x.*iconv -f {advice} -t"):
        read(file)


def test_files_that_are_not_regular(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.tsv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name in ("fifo.tsv", "zero.csv"):
        message = re.escape(f"{tmp_path / name} is not a regular file")
        with pytest.raises(KronaError, match=message):
            read(tmp_path / name)
        with pytest.raises(KronaError, match=message):
            require_files(mood(name), kind="hub", path=str(tmp_path))
        with pytest.raises(KronaError, match=message):
            InputRows(str(tmp_path / name), mood(name))
        assert data_fingerprint(mood(name), Data(kind="hub", path=str(tmp_path))) == "own:absent"


@pytest.mark.parametrize("content", [b"text\tlabel\n" + b"x\tsad\n" * 400_000, b"\0" * 3_000_000, b"\n" * 3_000_000])
def test_a_small_file_that_unpacks_to_a_large_one(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bomb.tsv.gz").write_bytes(gzip.compress(content))
    monkeypatch.setenv("KRONA_MAX_UNPACKED_GB", "0.001")
    monkeypatch.setenv("KRONA_MAX_LINE_MB", "2")
    with pytest.raises(KronaError, match=r"bomb\.tsv\.gz (unpacks to|has a line of) more than .*: KRONA_MAX_\w+=N\."):
        read(tmp_path / "bomb.tsv.gz")


@pytest.mark.parametrize("end", ["\n", "\r"])
@pytest.mark.parametrize("place", [0, 2, 12])
def test_a_line_that_is_too_long(end: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = lines(12, sep="\t")
    rows[place] = "x" * 5000
    (tmp_path / "a.tsv").write_text(end.join(rows))
    monkeypatch.setenv("KRONA_MAX_LINE_MB", "0.004")
    with pytest.raises(KronaError, match=r"a\.tsv has a line of more than 4,194 bytes.*KRONA_MAX_LINE_MB=N"):
        read(tmp_path / "a.tsv")


@pytest.mark.parametrize("value", ["0", "-1", "much", "nan", "inf"])
def test_a_limit_that_is_not_a_number(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("\n".join(lines(30)))
    monkeypatch.setenv("KRONA_MAX_UNPACKED_GB", "1e-9")
    assert len(read(tmp_path / "a.csv").train) == 24  # this limit applies to compressed files
    monkeypatch.setenv("KRONA_MAX_LINE_MB", value)
    with pytest.raises(KronaError, match=f"KRONA_MAX_LINE_MB={value} must be a number above 0"):
        read(tmp_path / "a.csv")
