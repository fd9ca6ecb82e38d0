"""Test `krona inspect`: its numbers against NumPy, every method, and incomplete or damaged files."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapters.conftest import finished
from krona import surgery
from krona.adapters.adapter import Adapter
from krona.adapters.inspect import format_text, inspect
from krona.adapters.origin import Origin
from krona.adapters.update import spectrum
from krona.backbones.insert_method import insert_method
from krona.backbones.load import random_model
from krona.config.settings import Backbone
from tasks import glue_files
from tiny_backbones import write as write_other
from tiny_t5 import METHODS, disturb, settings
from typed_run import krona

TRAINED = [name for name in METHODS if name != "untuned"]


def origin(method: str, backbone: Backbone) -> Origin:
    return Origin(
        run_id=method, method=method, seed=0, task=glue_files.config("rte"), backbone=asdict(backbone),
        task_prefix=False, max_source_length=24, scores={"dev": {"accuracy": 61.234}},
    )  # fmt: skip


def saved(folder: Path, method: str, *, backbone: Backbone | None = None, **changes: Any) -> tuple[Path, Any]:
    """Return the file of an adapter whose weights differ from their start values, and its model."""
    backbone, file = backbone or Backbone(name="nano", pretrained=False), folder / f"{method}.safetensors"
    torch.manual_seed(0)
    model = random_model(backbone)
    insert_method(model, settings(method, **changes))
    disturb(model, by=0.05)
    Adapter.of(model, notes=origin(method, backbone).as_note()).save(file)
    return file, model


def text(content: dict[str, Any], *, every: bool = False) -> str:
    return "\n".join(map(str, format_text(content, every=every)))


@pytest.mark.parametrize("method", TRAINED)
def test_every_method_inspects(method: str, tmp_path: Path) -> None:
    file, model = saved(tmp_path, method)
    content = inspect(file)
    json.dumps(content, allow_nan=False)
    assert "missing" not in content
    count = surgery.count(model)
    assert content["parameters"]["all"] == count.trainable
    assert content["header"]["backbone"]["parameters"] == count.backbone
    assert [place["place"] for place in content["places"]] == [
        surgery.public_name(path) for path, _ in surgery.adapted_modules(model)
    ]
    said = text(content)
    assert method in said
    branch = model.krona.adapters["default"].branch
    if branch is not None and not branch.defines("delta"):
        assert {place["singular_values"] for place in content["places"]} == {None}
    elif method in ("full", "layer_norm"):
        assert content["places"] == []
    else:
        spectra = [spectrum(at) for _, at in surgery.adapted_modules(model)]
        assert content["update"]["norm"] == pytest.approx(np.sqrt(sum(one.norm**2 for one in spectra)), rel=1e-6)
        assert content["update"]["mean_norm"] == pytest.approx(np.mean([one.norm for one in spectra]), rel=1e-6)
        for place, one in zip(content["places"], spectra, strict=True):
            assert place["rank_bound"] == len(one.values)
            assert place["singular_values"] == pytest.approx(one.values.tolist(), rel=1e-5, abs=1e-12)
        assert len(text(content, every=True).splitlines()) > len(said.splitlines())


def test_counts_by_kind(tmp_path: Path) -> None:
    folder = write_other(tmp_path / "bert", "bert")
    file, model = saved(tmp_path, "lora", backbone=Backbone(name="local", path=str(folder)))
    content = inspect(file)
    own = surgery.adapter_state(model, "default")
    branches = sum(p.numel() for name, p in own.items() if name.endswith((".A", ".B")))
    rest = sum(p.numel() for p in own.values()) - branches
    assert content["parameters"] == {"all": branches + rest, "branches": branches, "backbone weights": rest}
    kinds = {place["kind"] for place in content["places"]}
    assert kinds == {"encoder attention self query", "encoder attention self value"}


def test_without_a_config_the_file_alone_speaks(tmp_path: Path) -> None:
    folder = write_other(tmp_path / "bert", "bert")
    file, _ = saved(tmp_path, "krona", kron_factors=[[8, 8]], backbone=Backbone(name="local", path=str(folder)))
    whole = inspect(file)
    gone = folder.rename(tmp_path / "moved")
    one = inspect(file)
    assert "was not found" in one["missing"]
    assert one["places"] == []
    assert one["parameters"]["all"] == whole["parameters"]["all"]
    assert "dev accuracy 61.23" in text(one)
    again = inspect(file, backbone=str(gone))
    assert again["places"] == whole["places"]
    other = inspect(file, backbone=str(write_other(tmp_path / "wider", "bert", num_hidden_layers=3)))
    assert "weights have other names or shapes" in other["missing"]


def test_sizes_of_the_yaml_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 50}
    drawn = Backbone(name="google-t5/tiny", pretrained=False, sizes=sizes)
    file, model = saved(tmp_path, "lora", backbone=drawn)
    backbone = {"name": "google-t5/tiny", "sizes": sizes}  # a YAML may lack the other keys
    Adapter.of(model, notes=replace(origin("lora", drawn), backbone=backbone).as_note()).save(file)
    monkeypatch.setattr("krona.backbones.model_config.unreachable", lambda: pytest.fail("asked the Hub"))
    one = inspect(file)
    assert len(one["places"]) == 12
    assert "backbone   google-t5/tiny, " in text(one)


def test_the_command_on_a_run(small: list[str], tmp_path: Path) -> None:
    method = ["method=krona", "method.kron_factors=[[8,4],[4,8]]"]
    folder = finished(tmp_path, *small, *method, "trainer.max_epochs=1")
    content = json.loads(krona("inspect", folder, "--json"))
    result = json.loads((folder / "result.json").read_text())
    assert content["parameters"]["all"] == result["trainable_params"]
    assert content["origin"]["scores"]["test"] == result["test"]["parts"]
    assert content["update"]["norm"] > 0
    assert {place["rank_bound"] for place in content["places"]} == {result["provenance"]["update_rank"]}
    one = inspect(finished(tmp_path, *small, "method=untuned"))
    assert one["missing"] == "the run trained nothing"
    assert "untuned on rte" in text(one)


@pytest.mark.parametrize("files", ["/data/reviews.csv", {"train": "/data/reviews.csv", "dev": None}])
def test_an_adapter_names_data_files_without_their_folder(files: Any) -> None:
    made = origin("lora", Backbone(name="nano"))
    (note,) = replace(made, task={**made.task, "files": files}).as_note().values()
    assert json.loads(note)["task"]["files"] == {"train": "reviews.csv"}
