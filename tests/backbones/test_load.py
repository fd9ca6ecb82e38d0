"""Test backbones of each family from a folder: their input, a complete run, and the error messages."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import one_job
import tiny_backbones
from krona.backbones import load
from krona.config.settings import Backbone
from krona.messages import KronaError
from krona.runs.result import read_result
from krona.tasks import Split
from tasks.glue_files import task


def loaded(folder: Path, *, name: str = "rte", seed: int = 0, **more: Any) -> load.Loaded:
    return load.load(Backbone(name="local", path=str(folder), **more), task(name), seed=seed)


def split(pairs: list[tuple[str, ...]], targets: list[str]) -> Split:
    ids = [f"train-{i}" for i in range(len(pairs))]
    return Split(ids=ids, sources=[" ".join(pair) for pair in pairs], targets=targets, texts=pairs)


@pytest.mark.parametrize(("method", "kind"), [("krona", "bert"), ("krona", "llama"), ("untuned", "llama")])
def test_a_run_from_end_to_end(kind: str, method: str, folders: dict[str, Path], tmp_path: Path) -> None:
    typed = one_job.typed(folders[kind], tmp_path / "rte")
    values = one_job.config(f"method={method}", *typed, *(["trainer.max_epochs=1"] if method == "untuned" else []))
    job, said = one_job.run(values, tmp_path / "outputs")
    assert job.state == "done", said
    result = read_result(job.folder / "result.json")
    assert result.head_params == (2 * 32 + 2 if kind == "bert" else None)
    assert ("a new head of 66" in said) == (kind == "bert")
    lines = (job.folder / "predictions.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    predictions = [row["prediction"] for row in rows]
    shown = all(" [SEP] " in row["source"] and "sentence1" not in row["source"] for row in rows)
    assert shown == (kind == "bert"), "the encoder reads the two texts and not the prompt"
    assert len(predictions) == 9
    assert kind == "llama" or set(predictions) <= {"0", "1"}
    if method == "krona":
        weights = load_file(job.folder / "adapter.safetensors")
        assert all(bool(weights[name].any()) for name in weights if name.endswith(".B"))  # B is zero before training
        assert ("classifier.weight" in weights) == (kind == "bert")
    if (kind, method) == ("llama", "krona"):  # in nine steps, the encoder cannot learn the labels of these rows
        assert result.dev_curve[-1]["loss"] < result.dev_curve[0]["loss"]


def test_a_head_is_drawn_from_the_seed_and_the_rest_is_the_checkpoints(folders: dict[str, Path]) -> None:
    first, again, other = (loaded(folders["bert"], seed=seed).model for seed in (0, 0, 1))
    assert tiny_backbones.same(first, again)
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert tiny_backbones.same(first.bert, other.bert)
    assert 0.01 < first.classifier.weight.std() < 0.04
    assert not first.classifier.bias.any()
    load.BACKBONES.clear()
    settings = Backbone(name="local", path=str(folders["bert"]))
    for seed, alone in ((0, first), (1, other)):  # the jobs of a sweep share the weights, but not the heads
        assert tiny_backbones.same(load.shared_backbone(settings, task("rte"), seed=seed, bf16=False).model, alone)
    assert loaded(folders["bert"], name="mnli").model.classifier.out_features == 3
    assert loaded(folders["bert"], name="stsb").model.classifier.out_features == 1
    load.BACKBONES.clear()


def test_an_encoder_reads_the_texts_by_themselves(folders: dict[str, Path]) -> None:
    family = loaded(folders["bert"]).family
    rows = split([("the cat sat", "the dog"), ("no", "yes")], ["1", "0"])
    tokens = family.sources(rows, [0, 1], longest=None)
    pieces = family.tokenizer.convert_ids_to_tokens(tokens["input_ids"][0])
    assert pieces == ["[CLS]", "the", "cat", "sat", "[SEP]", "the", "dog", "[SEP]"]
    assert tokens["token_type_ids"][0] == [0, 0, 0, 0, 0, 1, 1, 1]
    batch = family.collate([
        {**{name: values[i] for name, values in tokens.items()}, "labels": family.label(rows.targets[i])}
        for i in range(2)
    ])  # fmt: skip
    assert batch["attention_mask"].tolist() == [[1] * 8, [1] * 5 + [0] * 3]
    assert batch["labels"].tolist() == [[1], [0]]


def test_a_decoder_reads_the_source_and_then_the_label(folders: dict[str, Path]) -> None:
    family = loaded(folders["llama"]).family
    rows = split([("the cat sat on the mat",)], ["1"])
    (ids,) = family.sources(rows, [0], longest=None)["input_ids"]
    assert family.tokenizer.decode(ids) == "the cat sat on the mat label :"
    (cut,) = family.sources(rows, [0], longest=5)["input_ids"]
    assert family.tokenizer.decode(cut) == "the cat sat label :"  # the end "label :" is never cut
    assert family.tokenizer.decode(family.label("1")) == "1 [SEP]"


def decoder_batch(model: load.Loaded, lengths: list[int]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = len(tiny_backbones.PIECES)
    rows = [
        {"input_ids": torch.randint(4, size, (n,), generator=generator).tolist(), "labels": [5 + n, 2][: 1 + n % 2]}
        for n in lengths
    ]
    return model.family.collate(rows)


@torch.no_grad()
def test_a_decoders_loss_is_that_of_its_label_alone_and_padding_changes_nothing(folders: dict[str, Path]) -> None:
    model = loaded(folders["llama"])
    model.model.double()
    batch = decoder_batch(model, [3, 6, 9])
    together = model.family.summed_loss(model.model, batch)
    alone = 0.0
    for row in range(3):
        source = batch["input_ids"][row][batch["attention_mask"][row].bool()]
        label = batch["labels"][row][batch["labels"][row] != -100]
        ids = torch.cat([source, label])[None]
        labels = torch.cat([torch.full_like(source, -100), label])[None]
        alone += float(model.model(input_ids=ids, labels=labels).loss) * len(label)  # the library's own loss
    assert float(together) == pytest.approx(alone, rel=1e-6)  # the loss itself is summed in fp32


def test_positions_and_heads_that_do_not_fit_are_one_message(folders: dict[str, Path], tmp_path: Path) -> None:
    short = tiny_backbones.write(tmp_path / "short", "llama", max_position_embeddings=24)
    values = one_job.config("method=lora", *one_job.typed(short, tmp_path / "rte"))
    job, _ = one_job.run(values, tmp_path / "outputs")
    assert job.state == "failed"
    assert "Set max_source_length=22" in job.error
    values = one_job.config("method=lora", *one_job.typed(short, tmp_path / "rte"), "max_source_length=25")
    with pytest.raises(KronaError, match=r"max_source_length=25 .*24 positions"):
        one_job.run(values, tmp_path / "outputs")
    three = loaded(folders["bert"], name="mnli").model
    three.save_pretrained(tmp_path / "three")
    tiny_backbones.words(pair=True).save_pretrained(tmp_path / "three")
    assert tiny_backbones.same(loaded(tmp_path / "three", name="mnli").model, three)  # a head that fits is kept
    with pytest.raises(KronaError, match=r"has 3 outputs, but task rte needs 2.*base_model"):
        loaded(tmp_path / "three")


def test_a_folder_of_another_model_than_the_yaml_describes(folders: dict[str, Path]) -> None:
    with pytest.raises(KronaError, match=r"is a llama, but backbone.architecture is bert"):
        loaded(folders["llama"], architecture="bert")
    sizes = {"hidden_size": 768, "num_hidden_layers": 2, "vocab_size": 30522}
    with pytest.raises(KronaError, match=r"not BERT, .*: hidden_size is 32, not 768\. .*backbone=local"):
        load.meta_model(Backbone(name="BERT", architecture="bert", path=str(folders["bert"]), sizes=sizes))
    with pytest.raises(KronaError, match=r"architecture is bert, not t5, d_model is None, not 768"):
        load.meta_model(Backbone(name="T5", path=str(folders["bert"]), sizes={"d_model": 768}))
    fitting = Backbone(name="mine", architecture="bert", path=str(folders["bert"]), sizes={**sizes, "hidden_size": 32})
    assert load.meta_model(fitting).config.hidden_size == 32
    with pytest.raises(KronaError, match=r"backbone\.architecture=brt: did you mean 'bert'"):
        load.meta_model(Backbone(name="x", architecture="brt", pretrained=False, sizes=sizes))
    with pytest.raises(KronaError, match=r"backbone\.sizes\.hidden_sise: did you mean 'hidden_size'"):
        load.meta_model(Backbone(name="x", architecture="bert", pretrained=False, sizes={"hidden_sise": 32}))
