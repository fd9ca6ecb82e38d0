"""Test ``backbone.pooling``: the input of the classifier, the trained weights of the head, and the errors."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import one_job
import tiny_backbones
from krona import surgery
from krona.adapters.adapter_file import Adapter
from krona.adapters.fingerprint import OtherBackboneError
from krona.adapters.trained import load as load_run
from krona.backbones import load
from krona.backbones.families import find_architecture
from krona.backbones.insert_method import insert_method
from krona.config.settings import Backbone
from krona.messages import KronaError
from krona.runs.result import read_result
from tasks.glue_files import task
from tiny_models import tiny_of
from tiny_t5 import settings


def loaded(folder: Path, pooling: str | None, *, bf16: bool = False) -> Any:
    one = Backbone(name="local", path=str(folder), pooling=pooling)
    return load.load(one, task("rte"), seed=0, bf16=bf16)


def rows(tokenizer: Any, *, pair: bool) -> Any:
    texts = [["the cat sat", "no"], *([["the dog", "yes yes"]] if pair else [])]
    return tokenizer(*texts, padding=True, return_tensors="pt")


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "pair", "bf16"),
    [(kind, True, False) for kind in ("bert", "mpnet", "roberta", "distilbert", "modernbert")]
    + [("bert", False, False), ("mpnet", True, True)],
)
def test_mean_and_first_are_those_of_a_rows_own_tokens(
    kind: str, pair: bool, bf16: bool, folders: dict[str, Path]
) -> None:
    for pooling in ("mean", "first"):
        found = loaded(folders[kind], pooling, bf16=bf16)
        model, batch = found.model.eval(), rows(found.family.tokenizer, pair=pair)
        model = model if bf16 else model.double()
        states = model.base_model(**batch).last_hidden_state.double()
        lengths = batch["attention_mask"].sum(1).tolist()
        assert lengths[0] > lengths[1]
        own = [
            state[:length].mean(0) if pooling == "mean" else state[0]
            for state, length in zip(states, lengths, strict=True)
        ]
        expected = torch.stack(own) @ model.classifier.weight.double().T + model.classifier.bias.double()
        tolerance = 2e-2 if bf16 else 1e-7  # rounding of states of size 1 (the mean is in fp32), times weights of 0.02
        torch.testing.assert_close(model(**batch).logits.double(), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("pooling", [None, "mean", "first", "pooler"])
def test_what_of_the_head_trains(pooling: str | None, folders: dict[str, Path]) -> None:
    model = loaded(folders["bert"], pooling).model
    insert_method(model, settings("lora"))
    trained = {name for name in surgery.trainable_state(model) if "LayerNorm" not in name and "self" not in name}
    classifier = {"classifier.weight", "classifier.bias"}
    pooler = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    assert trained == classifier | (pooler if pooling == "pooler" else set())
    assert surgery.count(model).head == 2 * 32 + 2 + (32 * 32 + 32 if pooling == "pooler" else 0)
    assert ("bert.pooler.dense.weight" in dict(model.named_parameters())) == (pooling in (None, "pooler"))


def test_the_head_of_the_library_is_what_it_was(folders: dict[str, Path]) -> None:
    plain = loaded(folders["bert"], None)
    assert type(plain.model).__name__ == "BertForSequenceClassification"
    pooler = loaded(folders["bert"], "pooler")
    assert tiny_backbones.same(plain.model, pooler.model)  # they differ in the trained parameters
    assert plain.new_weights == pooler.new_weights == ("classifier.weight", "classifier.bias")
    assert "krona_pooling" not in plain.model.config.to_dict()


def test_mpnet_base_has_the_papers_sizes() -> None:
    found = one_job.config("task=rte", "method=krona", "backbone=mpnet_base", "data=sample")["backbone"]
    library = replace(Backbone(**found), pooling=None)
    for one, head in ((library, 592_130), (replace(library, pooling="mean"), 1_538)):
        for method in ("krona", "lora"):
            model = load.meta_model(one, task("rte"))
            insert_method(model, settings(method))
            assert (surgery.count(model).trainable, surgery.count(model).head) == (75_264, head)


def composed(folder: Path, *more: str) -> Any:
    return one_job.config("task=rte", "method=lora", "backbone=local", f"backbone.path={folder}", *more)


@pytest.mark.parametrize(
    ("content", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True, "word_embedding_dimension": 32}, "first"),
        ({"pooling_mode_max_tokens": True}, None),
    ],
)
def test_a_local_folder_says_its_own_pooling(content: Any, pooling: str | None, tmp_path: Path) -> None:
    assert composed(tmp_path)["backbone"]["pooling"] is None
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(content))
    assert composed(tmp_path)["backbone"]["pooling"] == pooling
    assert composed(tmp_path, "backbone.pooling=null")["backbone"]["pooling"] is None
    (tmp_path / "1_Pooling" / "config.json").write_text("[")
    with pytest.raises(KronaError, match=r"1_Pooling/config.json is damaged.*Set the pooling"):
        composed(tmp_path)


@pytest.mark.parametrize(
    ("kind", "pooling", "message"),
    [
        ("llama", "mean", r"backbone.pooling=mean is only for encoders.*is a llama"),
        ("roberta", "pooler", r"backbone.pooling=pooler is not possible, because the roberta .* has no pooler"),
    ],
)
def test_refused_before_anything_is_written(
    kind: str, pooling: str, message: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    typed = one_job.typed(folders[kind], tmp_path / "rte")
    with pytest.raises(KronaError, match=message):
        one_job.run(one_job.config("method=lora", *typed, f"backbone.pooling={pooling}"), tmp_path / "outputs")
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("pooling", [None, "pooler"])
def test_a_checkpoint_without_a_pooler(pooling: str | None, tmp_path: Path) -> None:
    model = tiny_of("bert", vocab_size=len(tiny_backbones.PIECES)).bert
    model.pooler = None
    model.save_pretrained(tmp_path)
    tiny_backbones.words(pair=True).save_pretrained(tmp_path)
    with pytest.raises(KronaError, match=r"The pooler is missing from .*\. Set backbone.pooling to mean or first"):
        loaded(tmp_path, pooling)
    loaded(tmp_path, "mean")


@pytest.fixture(scope="module")
def runs(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return a dict from each pooling of MPNet to its run. The poolings mean and first have the same shapes."""
    root = tmp_path_factory.mktemp("runs")
    done = {}
    for pooling in ("mean", "first", "null"):
        typed = one_job.typed(folders["mpnet"], root / "rte")
        values = one_job.config("method=lora", *typed, f"backbone.pooling={pooling}")
        done[pooling], said = one_job.run(values, root / "outputs", shows_notes=pooling != "first")
        assert done[pooling].state == "done", said
        note = f"backbone.pooling={pooling} is a setting that .* backbone.pooling={pooling},null. A merged export"
        log = (done[pooling].folder / "train.log").read_text()
        found = [bool(re.search(note, " ".join(text.split()))) for text in (said, log)]
        assert found == [pooling == "mean", pooling != "null"]
    return done


def test_a_run_keeps_its_pooling(runs: dict[str, Any]) -> None:
    assert len({job.run_id for job in runs.values()}) == 3
    result = read_result(runs["mean"].folder / "result.json")
    assert (result.config["backbone"]["pooling"], result.head_params) == ("mean", 66)
    weights = load_file(runs["mean"].folder / "adapter.safetensors")
    assert all(bool(weights[name].any()) for name in weights if name.endswith(".B"))  # B is zero before training
    trained = load_run(runs["mean"].folder)
    assert find_architecture(trained.model).head == ["classifier"]
    rows = [{"sentence1": "the cat sat", "sentence2": "no"}]
    before = trained.predict(rows)[0].probabilities
    surgery.merge(trained.model)
    after = trained.predict(rows)[0].probabilities
    assert after == pytest.approx(before, abs=1e-5)


def test_an_adapter_of_another_pooling_is_refused(
    runs: dict[str, Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    file = runs["mean"].folder / "adapter.safetensors"
    assert "classifier.weight" in load_file(file)
    for pooling, name in (("first", "first"), (None, "null")):
        message = rf"trained with backbone.pooling=mean, but this backbone has backbone.pooling={name}"
        with pytest.raises(OtherBackboneError, match=message):
            Adapter.load(file).insert(loaded(folders["mpnet"], pooling).model)
    typed = one_job.typed(folders["mpnet"], tmp_path / "rte")
    values = one_job.config("method=lora", *typed, "backbone.pooling=first", f"init_from={runs['mean'].folder}")
    job, _ = one_job.run(values, tmp_path / "outputs")
    assert "trained with backbone.pooling=mean, but this backbone has backbone.pooling=first" in str(job.error)
