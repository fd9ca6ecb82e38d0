"""Test `krona.load`: predictions equal to the run's, the ways to name a run, and one message for wrong input."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

import krona
import tiny_backbones
from adapters.conftest import finished
from krona.adapters.adapter_file import AdapterConfig
from krona.adapters.find import NOTE, find
from krona.adapters.trained import load
from krona.backbones.load import BACKBONES
from krona.messages import KronaError


def test_every_name_of_a_run(rte: Path, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "mine.safetensors"
    shutil.copy(rte / "adapter.safetensors", copied)
    rows = [{"sentence1": "It rains.", "sentence2": "It is wet."}]
    expected = krona.load(rte).predict(rows)
    names: list[Any] = [rte.name, rte.name[:-4], str(rte), rte / "result.json", rte / "adapter.safetensors", copied]
    for name in names:
        trained = krona.load(name, outputs=outputs)
        assert trained.predict(rows) == expected
        assert trained.origin.run_id == rte.name
    alone = find(copied)
    assert alone.result is None
    assert alone.origin == find(rte).origin
    monkeypatch.chdir(outputs)
    assert find(rte.name).adapter == Path(rte.name) / "adapter.safetensors"
    monkeypatch.chdir(outputs / rte.name)
    for here in (".", "result.json"):
        assert find(here).adapter == rte.resolve() / "adapter.safetensors"


def test_the_fields_of_a_prediction(sst2: Path) -> None:
    trained = load(sst2)
    rows = map(json.loads, (sst2 / "predictions.jsonl").read_text().splitlines())
    texts = [row["source"].partition(": ")[2] for row in rows if row["split"] == "test"]
    answers = trained.predict(texts)
    assert answers == trained.predict([{"sentence": text, "more": 1} for text in texts])
    assert answers == trained.predict([text] for text in texts)
    for answer in answers:
        assert answer.word == {"0": "negative", "1": "positive"}.get(answer.answer)
        assert list(answer.probabilities) == ["negative", "positive"]
        assert sum(answer.probabilities.values()) == pytest.approx(1)
    labels = [answer for answer in answers if answer.word]
    assert labels
    assert all(max(one.probabilities, key=lambda word: one.probabilities[word]) == one.word for one in labels)
    assert trained.predict([]) == []
    assert trained.predict(pd.DataFrame({"sentence": texts[:2]})) == trained.predict(texts[:2])
    assert trained.predict({"sentence": texts[0]}) == trained.predict(texts[0]) == trained.predict(texts[:1])


def test_a_loaded_run_is_merged(rte: Path) -> None:
    trained = load(rte)
    rows = [["It rains.", "It is wet."]]
    expected = trained.predict(rows)
    assert trained.merge() is trained.model
    assert "krona" not in trained.model.__dict__
    assert trained.predict(rows)[0].answer == expected[0].answer


def test_a_loaded_run_is_scored_and_exported(rte: Path, tmp_path: Path) -> None:
    trained = load(rte)
    rows = pd.DataFrame({"sentence1": ["It rains."] * 2, "sentence2": ["It is wet."] * 2, "label": ["entailment", 1]})
    word = trained.predict(rows)[0].word
    assert trained.evaluate(rows).score == (50 if word else 0)
    with pytest.raises(KronaError, match="label 'no' is not one of"):
        trained.evaluate(rows.assign(label="no"))
    (line, logits) = trained.export("merged", tmp_path / "exported")
    assert "the logits of the exported model" in logits, line


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["It rains."], "row 1: the row has 1 text. Task sample_rte reads 'sentence1' and 'sentence2'"),
        ([["a", "b"], ["a", "b", "c"]], "row 2: the row has 3 texts"),
        ([{"sentence1": "a"}], "row 1: the column 'sentence2' is missing"),
        ([("a", ["b"])], r"row 1: the column 'sentence2' contains \['b'\], not text"),
    ],
)
def test_a_wrong_row(rows: Any, message: str, rte: Path) -> None:
    with pytest.raises(KronaError, match=message):
        load(rte).predict(rows)


def test_refused_runs(rte: Path, outputs: Path, tiny: dict[str, list[str]], tmp_path: Path) -> None:
    full = finished(outputs, *tiny["llama"], "method=full", "task=sample_rte", "keep=adapter")
    with pytest.raises(KronaError, match=r"adapter.safetensors was not found.*keep=all overwrite=true"):
        load(full)
    half = tmp_path / "outputs" / rte.name
    shutil.copytree(rte, half)
    (half / "adapter.safetensors").unlink()
    with pytest.raises(KronaError, match=r"adapter.safetensors was not found"):
        load(half)
    content = json.loads((half / "result.json").read_text())
    del content["provenance"]["sha256"]  # an unfinished run has no checksums
    (half / "result.json").write_text(json.dumps({**content, "status": "running"}))
    with pytest.raises(KronaError, match=f"{rte.name} is not finished. Its status is running"):
        load(rte.name, outputs=half.parent)
    for name in ("nobody", "", "long" * 100):
        with pytest.raises(KronaError, match=f"No run '{name}'"):
            load(name, outputs=outputs)


def test_a_backbone_that_moved_and_another(
    tiny: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tiny_backbones.write(tmp_path / "here", "bert", initializer_range=0.5)
    values = [value for value in tiny["bert"] if not value.startswith("backbone")]
    monkeypatch.chdir(tmp_path)
    folder = finished(
        tmp_path / "outputs", "method=lora", "task=sample_rte", "backbone=local", "backbone.path=here", *values
    )
    monkeypatch.chdir(folder)  # a relative path is found from other folders too
    rows = [["It rains.", "It is wet."]]
    expected = load(folder).predict(rows)
    moved = here.rename(tmp_path / "there")
    BACKBONES.clear()
    with pytest.raises(KronaError, match=r"The backbone of .* was not found at .*here.*--backbone FOLDER"):
        load(folder)
    assert load(folder, backbone=moved).predict(rows) == expected
    other = tiny_backbones.write(tmp_path / "other", "bert", seed=1, initializer_range=0.5)
    with pytest.raises(KronaError, match="belongs to another backbone, whose weights have the same shapes"):
        load(folder, backbone=other)


def forged(source: Path, target: Path, change: Callable[[Any, Any], Any]) -> Path:
    """Return a copy of an adapter's file whose header and note about the run are changed."""
    config, tensors = AdapterConfig.read(source), load_file(source)
    header, note = config.model_dump(), json.loads(config.notes[NOTE])
    change(header, note)
    save_file(tensors, target, {"krona": json.dumps({**header, "notes": {NOTE: json.dumps(note)}})})
    return target


def test_a_forged_origin_is_one_message(rte: Path, tmp_path: Path) -> None:
    file = forged(rte / "adapter.safetensors", tmp_path / "forged.safetensors", lambda _, note: note.clear())
    with pytest.raises(KronaError, match=r"`krona_run` in the header of .* is invalid"):
        load(file)


def test_a_users_own_method_is_imported(rte: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_lora.py").write_text("from krona.methods.lora import LoRA\n\n\nclass Mine(LoRA): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    conf = tmp_path / "conf"
    (conf / "method").mkdir(parents=True)
    (conf / "method" / "mine.yaml").write_text("method: {_target_: own_lora.Mine}\n")
    monkeypatch.chdir(tmp_path)
    rows = [["It rains.", "It is wet."]]

    def rename(header: Any, _: Any) -> None:
        header["branch"] = "own_lora.Mine"

    trained = load(forged(rte / "adapter.safetensors", tmp_path / "a.safetensors", rename))
    assert {type(m).__name__ for m in trained.model.modules()} >= {"Mine"}
    assert trained.predict(rows) == load(rte).predict(rows)


def test_files_that_are_not_adapters(rte: Path, tmp_path: Path) -> None:
    whole = (rte / "adapter.safetensors").read_bytes()
    for name, content in {"half.safetensors": whole[: len(whole) // 2], "a.pickle": pickle.dumps(1)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(KronaError, match=f"{name} cannot be read as a safetensors file"):
            load(tmp_path / name)
    file = tmp_path / "a.safetensors"
    krona.Adapter.of(load(rte).model).save(file)
    with pytest.raises(KronaError, match="does not record its task and backbone"):
        load(file)
