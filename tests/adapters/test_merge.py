"""Test `krona merge`: the file contains the weighted sum of the adapters and can be loaded without their runs."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import krona
from adapters import conftest
from krona import surgery
from krona.adapters.adapter import Adapter
from krona.adapters.commands import inspect_text
from krona.adapters.commands.inspect import inspect
from krona.adapters.commands.merge import merge, parse_weights
from krona.adapters.find import find
from krona.adapters.weighted_sum import combine
from krona.backbones.shared import shared_backbone
from krona.config.settings import Backbone
from krona.messages import KronaError
from tasks.glue_files import task
from tiny_backbones import write_backbone

ROW = [{"sentence1": "the cat sat", "sentence2": "a dog"}]


def saved(path: Path, method: str, folder: Path, *, seed: int, of: str = "rte", **changes: Any) -> Path:
    """Write the file of an adapter of the backbone in a folder, and return the file."""
    backbone = Backbone(name="local", path=str(folder))
    model = shared_backbone(backbone, task(of), seed=0, bf16=False).model
    return conftest.saved(model, path, method, backbone, seed=seed, task=of, **changes)[0]


def test_the_file_is_the_weighted_sum(tiny_folder: Path, tmp_path: Path) -> None:
    files = [
        saved(tmp_path / "first.safetensors", "lora", tiny_folder, seed=1, rank=2),
        saved(tmp_path / "second.v2.safetensors", "lora", tiny_folder, seed=2, of="mrpc", rank=2),
    ]
    out = tmp_path / "both.safetensors"
    lines = merge([find(file) for file in files], out, weights=[0.75, -0.5])
    assert "0.75 × first + -0.5 × second.v2" in lines[0]
    model = krona.load(files[0], device="cpu").model
    Adapter.load(files[1]).insert(model, name="second")
    combine(model, {"default": 0.75, "second": -0.5}, into="both")
    expected, found = surgery.adapter_state(model, "both"), load_file(out)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], p) for name, p in expected.items())
    trained = krona.load(out)
    assert len(trained.predict(ROW)) == 1
    assert (trained.origin.run_id, trained.origin.task_settings.name, trained.origin.scores) == ("both", "rte", {})
    merge([find(file) for file in files], tmp_path / "mrpc.safetensors", task="mrpc")
    assert krona.load(tmp_path / "mrpc.safetensors").task.name == "mrpc"
    one = inspect(out)
    assert one.merged == {"first": 0.75, "second.v2": -0.5}
    assert any(line.startswith("merged of") and "0.75 × first" in line for line in inspect_text.lines(one))


def test_refused_merges(tiny_folder: Path, tmp_path: Path) -> None:
    lora, other = (saved(tmp_path / f"{n}.safetensors", "lora", tiny_folder, seed=s) for s, n in enumerate("ab"))
    krona_ = saved(tmp_path / "k.safetensors", "krona", tiny_folder, seed=3, kron_factors=[[8, 4]])
    drawn = saved(tmp_path / "w.safetensors", "lora", write_backbone(tmp_path / "drawn", seed=9), seed=1)
    wide = saved(tmp_path / "x.safetensors", "lora", write_backbone(tmp_path / "wide", d_model=64), seed=1)
    out = tmp_path / "both.safetensors"
    cases: list[tuple[list[Path], dict[str, Any], str]] = [
        ([lora], {}, "at least two"),
        ([lora, lora], {}, "a is given twice"),
        ([lora, other], {"weights": [1.0]}, "--weights has 1 numbers, but there are 2 runs"),
        ([lora, krona_], {}, "'a': LoRA, 'k': Kronecker"),
        ([lora, drawn], {}, "same shapes but other values"),
        (
            [lora, wide],
            {},
            r"adapters of the same backbone, local\. .*x\.safetensors .* other names or shapes",
        ),
        ([lora, other], {"task": "nowhere"}, "nowhere"),
    ]
    for files, call, message in cases:
        with pytest.raises(Exception, match=message) as error:
            merge([find(file) for file in files], out, **call)
        assert isinstance(error.value, KronaError) or "task" in call
        assert not out.exists()
    nothing = replace(find(lora), adapter=None)
    with pytest.raises(KronaError, match="trained nothing"):
        merge([find(other), nothing], out)
    out.write_text("mine")
    with pytest.raises(KronaError, match="exists"):
        merge([find(lora), find(other)], out)
    assert out.read_text() == "mine"
    for name, suggested in (("both", "both.safetensors"), ("i.txt", "i.safetensors"), ("", "adapter.safetensors")):
        with pytest.raises(KronaError, match=re.escape(f"such as {tmp_path / suggested}.")):
            merge([find(lora), find(other)], tmp_path / name)
    with pytest.raises(KronaError, match="numbers with commas"):
        parse_weights("0.5;0.5")
    assert parse_weights("0.5,-1") == [0.5, -1.0]
