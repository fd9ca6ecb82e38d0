"""Files in other encodings, with other line ends, packed with gzip: read, or one message with the way out."""

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from krona.messages import KronaError
from tasks.own_task import lines, read, texts

CAFE = "\n".join([*lines(12), "a “café”,sad"])


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl"])
def test_line_ends_of_cr_alone(ending: str, tmp_path: Path) -> None:
    sep = "\t" if ending == "tsv" else ","
    rows = [f'{{"text": "day {i}", "label": "sad"}}' for i in range(12)] if ending == "jsonl" else lines(12, sep=sep)
    (tmp_path / f"lf.{ending}").write_bytes("\n".join(rows).encode())
    for name, last in (("cr", ""), ("ended", "\r"), ("mixed", "\r\n")):
        (tmp_path / f"{name}.{ending}").write_bytes(("\r".join(rows) + last).encode())
        assert texts(read(tmp_path / f"{name}.{ending}")) == texts(read(tmp_path / f"lf.{ending}"))


def test_a_cr_within_a_line_stays_text(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes("\n".join([*lines(12, sep="\t"), "one\rtwo\tsad"]).encode())
    assert "text: one\rtwo" in texts(read(tmp_path / "a.tsv")).values()


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl"])
def test_gzip(ending: str, tmp_path: Path) -> None:
    sep = "\t" if ending == "tsv" else ","
    rows = [f'{{"text": "day {i}", "label": "sad"}}' for i in range(12)] if ending == "jsonl" else lines(12, sep=sep)
    (tmp_path / f"a.{ending}").write_text("\n".join(rows))
    (tmp_path / f"a.{ending}.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    assert texts(read(tmp_path / f"a.{ending}.gz")) == texts(read(tmp_path / f"a.{ending}"))


@pytest.mark.parametrize("cut", [5, -9])
def test_a_broken_gzip_is_one_message(cut: int, tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress("\n".join(lines(99)).encode())[:cut])
    with pytest.raises(KronaError, match=r"a\.csv\.gz is not a whole gzip file"):
        read(tmp_path / "a.csv.gz")
    (tmp_path / "a.csv").write_bytes(gzip.compress("\n".join(lines(99)).encode()))
    with pytest.raises(KronaError, match=r"a\.csv: a gzip file: its name must end in \.csv\.gz"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(b"PAR1"))
    with pytest.raises(KronaError, match=r"not in '\.parquet\.gz'"):
        read(tmp_path / "a.parquet.gz")


@pytest.mark.parametrize(
    ("encoded", "named"),
    [
        (CAFE.encode("cp1252"), "CP1252"),
        (CAFE.replace("“", "\x81").replace("”", "").encode("latin-1"), "LATIN1"),  # cp1252 has no 0x81
        (CAFE.encode("utf-16"), "UTF-16"),
        (b"\xfe\xff" + CAFE.encode("utf-16-be"), "UTF-16"),
        (CAFE.encode("utf-16-le"), "UTF-16LE"),
        (CAFE.encode("utf-16-be"), "UTF-16BE"),
        (CAFE.encode("utf-32"), "UTF-32"),
    ],
)
def test_the_advice_names_the_encoding_and_works(encoded: bytes, named: str, tmp_path: Path) -> None:
    (tmp_path / "my mood.csv").write_bytes(encoded)
    with pytest.raises(KronaError, match=r"my mood\.csv:\d+: not UTF-8: byte 0x") as caught:
        read(tmp_path / "my mood.csv")
    command = str(caught.value).split(": ")[-1]
    assert f"iconv -f {named} -t UTF-8 " in command
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    assert "text: a “café”" in texts(read(tmp_path / "utf8.csv")).values() or named == "LATIN1"


def test_the_advice_for_a_packed_file_works(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(CAFE.encode("cp1252")))
    with pytest.raises(KronaError, match=r"a\.csv\.gz:14: not UTF-8") as caught:
        read(tmp_path / "a.csv.gz")
    subprocess.run(["bash", "-c", str(caught.value).split(": ")[-1]], cwd=tmp_path, check=True)
    assert "text: a “café”" in texts(read(tmp_path / "utf8.csv")).values()


def test_a_stray_nul_is_named_and_removed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("\n".join([*lines(12), "a\0b,sad"]).encode())
    with pytest.raises(KronaError, match=re.escape("a.csv:14: not text: byte 0x00 at offset")) as caught:
        read(tmp_path / "a.csv")
    subprocess.run(["bash", "-c", str(caught.value).split(": ")[-1]], cwd=tmp_path, check=True)
    assert "text: ab" in texts(read(tmp_path / "clean.csv")).values()


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl"])
def test_a_byte_order_mark_alone_is_an_empty_file(ending: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{ending}").write_bytes(b"\xef\xbb\xbf\n")
    with pytest.raises(KronaError, match=r"is empty \(4 bytes\)"):
        read(tmp_path / f"a.{ending}")
