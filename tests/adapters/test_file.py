"""Adapter files: rebuilt from the header alone, whole or not at all, refused where they do not belong."""

import json
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from krona import surgery
from krona.adapters.file import file_bytes, load_adapter, read_header, save_adapter
from krona.messages import KronaError
from krona.methods.lora import LoRA
from tiny_t5 import disturb, inserted, logits, same_bits, snapshot, tiny_t5


def saved(path: Path, name: str = "krona_b", **overrides: object) -> Path:
    model = inserted(name, **overrides)
    disturb(model)
    save_adapter(model, path, notes={"task": "rte"})
    return path


def test_header_has_all_that_rebuilds_it(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.safetensors", bias=2, scaling=3.0)
    entry, notes = read_header(file)
    assert notes == {"task": "rte"}
    assert entry["branch"] == "krona.methods.kronecker.Kronecker"
    assert entry["branch_config"]["bias"] == 2
    assert entry["insertion"]["modules_per_target"] == 2
    assert entry["backbone"]["parameters"] == surgery.count(inserted("lora")).backbone


def test_mode_and_size(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    mask = os.umask(0o077)
    try:
        saved(file)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    for name in ("krona_b", "compacter", "dora", "layer_norm", "bitfit"):
        model = inserted(name)
        save_adapter(model, file)
        assert file.stat().st_size == file_bytes(model)


def test_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path / "a.safetensors")
    before = file.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("krona.adapters.file.save_file", full_disk)
    with pytest.raises(KronaError, match="No space left"):
        save_adapter(inserted("lora"), file)
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_an_inactive_adapter_by_name_beside_another(tmp_path: Path) -> None:
    model = inserted("krona")
    disturb(model)
    alone = logits(model)
    surgery.insert(model, LoRA, target_modules=["q"], name="second")
    save_adapter(model, tmp_path / "a.safetensors", name="default")
    other = inserted("pa")
    load_adapter(other, tmp_path / "a.safetensors", name="loaded")
    assert torch.equal(logits(other), alone)
    surgery.activate(other, "default")
    surgery.take_out(other)
    assert same_bits(snapshot(other), snapshot(tiny_t5()))


def test_saved_from_a_model_that_keeps_no_copy(tmp_path: Path) -> None:
    model = tiny_t5()
    surgery.insert(model, LoRA, target_modules=["q"], reversible=False)
    disturb(model)
    save_adapter(model, tmp_path / "a.safetensors")
    other = tiny_t5()
    load_adapter(other, tmp_path / "a.safetensors")
    assert torch.equal(logits(other), logits(model))


def test_saved_while_merged_and_loaded_into_bf16(tmp_path: Path) -> None:
    model = inserted("krona")
    disturb(model)
    surgery.merge(model)
    save_adapter(model, tmp_path / "a.safetensors")
    load_adapter(tiny_t5().to(torch.bfloat16), tmp_path / "a.safetensors")  # the same backbone, rounded


def refused(path: Path, model: torch.nn.Module, words: list[str], **arguments: object) -> None:
    before, output = snapshot(model), logits(model)
    flags = [(n, p.requires_grad) for n, p in model.named_parameters()]
    with pytest.raises(KronaError) as caught:
        load_adapter(model, path, name="loaded", **arguments)  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert same_bits(snapshot(model), before)
    assert torch.equal(logits(model), output)
    assert [(n, p.requires_grad) for n, p in model.named_parameters()] == flags


def test_another_backbone_or_another_shape_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.safetensors")
    refused(file, tiny_t5(seed=5), ["another backbone", "other_backbone=True"])
    load_adapter(tiny_t5(seed=5), file, other_backbone=True)
    refused(file, tiny_t5(d_ff=128), ["another shape"])
    refused(file, tiny_t5(gated=True), ["another shape"])
    refused(file, tiny_t5(num_layers=1), ["another shape"], other_backbone=True)
    refused(file, inserted("lora", tiny_t5(seed=5)), ["another backbone"])


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.safetensors")
    model = inserted("lora")
    refused(tmp_path / "none.safetensors", model, ["is not there"])
    (tmp_path / "short.safetensors").write_bytes(file.read_bytes()[:-100])
    refused(tmp_path / "short.safetensors", model, ["can't be read as safetensors"])
    (tmp_path / "text.safetensors").write_text("no adapter")
    refused(tmp_path / "text.safetensors", model, ["can't be read"])
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", model, ["no adapter of this project"])

    def altered(**changes: object) -> Path:
        with safe_open(file, framework="pt") as opened:
            entry = json.loads(opened.metadata()["krona"])
        save_file(load_file(file), tmp_path / "altered.safetensors", {"krona": json.dumps({**entry, **changes})})
        return tmp_path / "altered.safetensors"

    refused(altered(format=2), model, ["format 2"])
    refused(altered(branch="krona.methods.nowhere.Branch"), model, ["nowhere", "branch="])
    refused(altered(branch="subprocess.Popen"), model, ["subprocess.Popen", "branch="])
    refused(altered(branch_config={"kron_factors": [[4, 8]], "bias": 1}), model, ["in these weights"])


def test_a_class_without_a_name_cannot_be_saved(tmp_path: Path) -> None:
    class Own(LoRA):
        pass

    model = tiny_t5()
    surgery.insert(model, Own, target_modules=["q"])
    with pytest.raises(KronaError, match="top of a module"):
        save_adapter(model, tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_same_adapter_is_the_same_bytes_with_notes_too(tmp_path: Path) -> None:
    """safetensors writes several entries of a header in random order: all is in one entry."""
    model = inserted("lora")
    files = [tmp_path / f"{i}.safetensors" for i in range(8)]
    for file in files:
        save_adapter(model, file, notes={"run": "a", "task": "b", "more": "c"})
    assert len({file.read_bytes() for file in files}) == 1
    assert read_header(files[0])[1] == {"run": "a", "task": "b", "more": "c"}


@pytest.mark.parametrize("wrong", ["nan", "inf", "int32", "float64"])
def test_a_value_or_dtype_that_no_weight_has_is_named(wrong: str, tmp_path: Path) -> None:
    file = saved(tmp_path / "a.safetensors")
    with safe_open(file, framework="pt") as opened:
        header = opened.metadata()
    tensors = load_file(file)
    name = sorted(tensors)[1]
    if wrong in ("nan", "inf"):
        tensors[name].view(-1)[1] = float(wrong)
        said = f"1 of the {tensors[name].numel():,} values of {name} are NaN or infinite"
    else:
        tensors[name] = tensors[name].to(getattr(torch, wrong))
        said = f"{name} is {wrong}, weights are float32, bfloat16 or float16"
    save_file(tensors, file, metadata=header)
    model = tiny_t5()
    before = snapshot(model)
    with pytest.raises(KronaError, match=f"a.safetensors is damaged: {said}"):
        load_adapter(model, file)
    assert same_bits(before, snapshot(model))
