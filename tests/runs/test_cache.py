"""Test that a cache in outputs/.index is not used if it is damaged, and is never written behind a link."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from krona.runs.cache import FOLDER, _heading, read_cache, write_cache

NESTED = 100_000 * "["


def make_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_text(file.read_text().replace("1.5", "2.5")),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(bytes(range(256)) * 40),
        lambda file: file.write_text(""),
        lambda file: file.write_text(f"{_heading('1', NESTED)}\n{NESTED}"),
        make_pipe,
        make_folder,
        Path.unlink,
    ],
)
def test_a_damaged_file_is_not_used(damage: Callable[[Path], None], tmp_path: Path) -> None:
    write_cache(tmp_path, "a.json", {"é": [1.5, None]}, version="1")
    assert read_cache(tmp_path, "a.json", version="1") == {"é": [1.5, None]}
    assert read_cache(tmp_path, "a.json", version="2") is None
    damage(tmp_path / FOLDER / "a.json")
    assert read_cache(tmp_path, "a.json", version="1") is None
    write_cache(tmp_path, "a.json", [1], version="1")
    assert read_cache(tmp_path, "a.json", version="1") == (None if damage in (make_pipe, make_folder) else [1])


@pytest.mark.parametrize("kind", ["a file", "a link", "a link in the folder"])
def test_nothing_is_written_in_another_place(kind: str, tmp_path: Path) -> None:
    outputs, home = tmp_path / "outputs", tmp_path / "home"
    outputs.mkdir()
    home.mkdir()
    if kind == "a file":
        (outputs / FOLDER).write_text("")
    elif kind == "a link":
        (outputs / FOLDER).symlink_to(home)
    else:
        (outputs / FOLDER).mkdir()
        (outputs / FOLDER / "a.json").symlink_to(home / "a.json")
    write_cache(outputs, "a.json", 1, version="1")
    assert read_cache(outputs, "a.json", version="1") is None
    assert list(home.iterdir()) == []
