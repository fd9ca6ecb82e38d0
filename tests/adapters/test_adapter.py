"""Test adapter files: saving, loading, and the errors for damaged files and for other backbones."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from krona import surgery
from krona.adapters.adapter_file import Adapter, AdapterConfig
from krona.messages import KronaError
from krona.methods.lora import LoRA
from tiny_t5 import disturb, inserted, logits, refused, tiny_t5


def saved(path: Path, name: str = "krona_b", **overrides: object) -> Path:
    model = inserted(name, **overrides)
    disturb(model)
    Adapter.of(model, notes={"task": "rte"}).save(path)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saved_from_a_model_that_keeps_no_copy(dtype: torch.dtype, tmp_path: Path) -> None:
    model, other = tiny_t5().to(dtype), tiny_t5().to(dtype)
    surgery.insert(model, LoRA, target_modules=["q"], reversible=False)
    disturb(model)
    Adapter.of(model).save(tmp_path / "a.safetensors")
    Adapter.load(tmp_path / "a.safetensors").insert(other)
    assert torch.equal(logits(other), logits(model))


def test_saved_while_merged_and_loaded_into_bf16(tmp_path: Path) -> None:
    model = inserted("krona")
    disturb(model)
    beside, other = logits(model), tiny_t5()
    surgery.merge(model)
    Adapter.of(model).save(tmp_path / "a.safetensors")
    Adapter.load(tmp_path / "a.safetensors").insert(other)
    assert torch.equal(logits(other), beside)
    Adapter.load(tmp_path / "a.safetensors").insert(tiny_t5().to(torch.bfloat16))  # the same backbone, rounded


def load_into(model: torch.nn.Module, file: Path, **options: bool) -> Callable[[], Any]:
    return lambda: Adapter.load(file).insert(model, **options)


def test_another_backbone_or_another_shape_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.safetensors")
    other = tiny_t5(seed=5)
    refused(other, load_into(other, file), "another backbone.*other_backbone=True to Adapter.insert in Python")
    load_into(other, file, other_backbone=True)()
    for model in (tiny_t5(d_ff=128), tiny_t5(gated=True), small := tiny_t5(num_layers=1)):
        refused(model, load_into(model, file, other_backbone=model is small), "other names or shapes")


HEADERS: list[tuple[dict[str, Any], str]] = [
    ({"format": 2}, "format=2 must be 1"),
    ({"branch": "krona.methods.lora.Gone"}, "cannot be imported"),
    ({"branch": "subprocess.Popen"}, "its branch='subprocess.Popen' is named by a file"),
    ({"branch_config": {"kron_factors": [[4, 8]], "bias": 1}}, "in these weights"),
    ({"insertion": None}, "no valid `krona` entry"),
]


@pytest.mark.parametrize(("changes", "message"), HEADERS)
def test_a_forged_header_is_one_message(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = saved(tmp_path / "a.safetensors")
    config = AdapterConfig.read(file).model_dump()
    save_file(load_file(file), file, {"krona": json.dumps(config | changes)})
    model = tiny_t5()
    refused(model, load_into(model, file), re.escape(message))


def test_a_file_without_an_adapter(tmp_path: Path) -> None:
    model = tiny_t5()
    file = tmp_path / "a.safetensors"
    refused(model, load_into(model, file), "a.safetensors was not found")
    for metadata in (None, {"krona": "["}):
        save_file({"x": torch.zeros(1)}, file, metadata)
        refused(model, load_into(model, file), "not an adapter of this version of krona")


def test_a_class_without_a_name_cannot_be_saved(tmp_path: Path) -> None:
    class Own(LoRA):
        pass

    model = tiny_t5()
    surgery.insert(model, Own, target_modules=["q"])
    with pytest.raises(KronaError, match="top level of a module"):
        Adapter.of(model)


def test_the_same_adapter_is_the_same_bytes_with_notes_too(tmp_path: Path) -> None:
    """All notes are in one entry of the header, because safetensors writes several entries in random order."""
    model, notes = inserted("lora"), {"run": "a", "task": "b", "more": "c"}
    files = [tmp_path / f"{i}.safetensors" for i in range(8)]
    for file in files:
        Adapter.of(model, notes=notes).save(file)
    assert len({file.read_bytes() for file in files}) == 1
    assert AdapterConfig.read(files[0]).notes == notes


def test_a_value_that_no_weight_has_is_named(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.safetensors")
    metadata, tensors = AdapterConfig.read(file).as_metadata(), load_file(file)
    name = sorted(tensors)[1]
    tensors[name].view(-1)[1] = float("nan")
    message = f"1 of the {tensors[name].numel():,} values of {name} are NaN or infinite"
    save_file(tensors, file, metadata=metadata)
    with pytest.raises(KronaError, match=f"a.safetensors is damaged. {message}"):
        Adapter.load(file)
