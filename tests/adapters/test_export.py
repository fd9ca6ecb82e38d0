"""Test the export of every method to every format. The expected outcomes are in the table of docs/use-an-adapter.md."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    T5ForConditionalGeneration,
)

import one_job
import tiny_backbones
from adapters.conftest import finished
from krona.adapters.export import FORMS, export, model_card
from krona.adapters.find import TrainedRun, find
from krona.adapters.trained import load
from krona.messages import KronaError
from krona.methods.lora import LoRA
from tiny_backbones import write_backbone
from tiny_t5 import METHODS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "use-an-adapter.md"
KINDS = ("t5", "bert", "llama")
REASONS = {  # words of an error message → the reason in the page's table
    "no single weight can hold its update": "at a block",
    "has a constant part": "bias",
    "trains only biases": "bias",
    "not a linear layer. peft cannot represent such an adapter": "at a block",
    "Full fine-tuning trains no adapter": "whole model",
    "trained nothing": "nothing trained",
}


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("backbones")
    return {
        "t5": write_backbone(folder / "t5"),
        "bert": tiny_backbones.write(folder / "bert", "bert"),
        **{kind: tiny_backbones.write(folder / kind, kind) for kind in ("llama", "mpnet")},
        "data": folder / "data",
        "outputs": folder / "outputs",
    }


def trained(backbones: dict[str, Path], *overrides: str, kind: str = "t5", outputs: Path | None = None) -> TrainedRun:
    """Return a finished run of three steps. Tests with the same overrides share it."""
    values = [*one_job.typed(backbones[kind], backbones["data"]), "keep=all", "trainer.max_epochs=1"]
    return find(finished(outputs or backbones["outputs"], *values, *overrides))


def cell(found: TrainedRun, form: str, folder: Path) -> str:
    """Export a run, which compares the logits and loads the folder again. Return the cell of the page's table."""
    out = folder / form
    try:
        *_, compared = export(found, to=form, out=out)
    except KronaError as error:
        assert list(folder.iterdir()) == [], "nothing half-written"
        (reason,) = {short for words, short in REASONS.items() if words in str(error)}
        return f"no: {reason}"
    assert compared.endswith("identical") or float(re.findall(r"\S+e-\d+", compared)[0]) <= 1e-5
    assert (out / "README.md").read_text().startswith("---\n")
    kind = json.loads((out / "adapter_config.json").read_text())["peft_type"] if form == "peft" else ""
    shutil.rmtree(out)
    return f"yes: {kind}" if kind else "yes"


@pytest.mark.slow
def test_every_method_in_every_form_and_the_page_says_so(backbones: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    methods: dict[str, list[str]] = {}  # by the cells of their row
    for name in METHODS:
        found = trained(backbones, f"method={name}")
        cells = [cell(found, form, tmp_path / "out") for form in FORMS]
        methods.setdefault(" | ".join(cells), []).append(f"`{name}`")
    head = [f"| methods | {' | '.join(FORMS)} |", f"|---{'|---' * len(FORMS)}|"]
    table = "\n".join([*head, *(f"| {', '.join(names)} | {cells} |" for cells, names in methods.items())])
    text = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- made by tests/adapters/test_export.py -->\n", "\n<!-- end -->"
    written = text.split(begin)[1].split(end)[0]
    if os.environ.get("KRONA_WRITE_DOCS"):
        PAGE.write_text(text.replace(f"{begin}{written}{end}", f"{begin}{table}{end}"), encoding="utf-8")
        written = table
    assert written == table, "KRONA_WRITE_DOCS=1 python -m pytest tests/adapters/test_export.py writes the page anew"


def test_a_folder_that_peft_reads_differently_is_refused(
    backbones: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, folder = trained(backbones, "method=lora"), tmp_path / "peft"
    backbone = {**found.origin.backbone, "revision": "main"}  # without an effect on a folder
    export(replace(found, origin=replace(found.origin, backbone=backbone)), to="peft", out=folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == (None, None)
    assert "revision=" not in (folder / "README.md").read_text()
    settings, tensors = {"r": 1, "lora_alpha": 9}, LoRA.to_peft
    monkeypatch.setattr(LoRA, "to_peft", lambda branch: (settings, tensors(branch)[1]))
    with pytest.raises(KronaError, match=r"--to peft failed.* differ by .*Nothing was exported"):
        export(found, to="peft", out=tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(KronaError, match=r"peft exists\. Remove it"):
        export(found, to="peft", out=folder)
    monkeypatch.setattr("krona.adapters.export.compare_logits", lambda *_: float("nan"))
    with pytest.raises(KronaError, match="differ by nan"):
        export(found, to="merged", out=tmp_path / "other")


def test_a_smaller_dtype(backbones: dict[str, Path], tmp_path: Path) -> None:
    found = trained(backbones, "method=lora", kind="bert")
    export(found, to="merged", out=tmp_path / "model", dtype="bf16")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", dtype="auto")
    assert model.dtype == torch.bfloat16
    assert model.config.id2label == {0: "entailment", 1: "not_entailment"}


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_a_run_in_bf16_has_every_form(backbones: dict[str, Path], tmp_path: Path) -> None:
    found = trained(backbones, "method=krona", "trainer.precision=bf16-frozen")
    for form in FORMS:
        export(found, to=form, out=tmp_path / form)
    model = T5ForConditionalGeneration.from_pretrained(tmp_path / "merged", dtype="auto")
    assert model.dtype == torch.float32


def test_a_card_says_what_the_data_are(backbones: dict[str, Path]) -> None:
    found = trained(backbones, "method=lora")
    model = load(found).model
    card = model_card(found, "peft", ["a line"], auto="AutoModelForSeq2SeqLM", model=model)
    assert "\nData: GLUE's format, but " in card
    assert "`BACKBONE_FOLDER` is the folder of the backbone" in card
    assert "BACKBONE_FOLDER" not in model_card(found, "merged", [], auto="AutoModelForSeq2SeqLM", model=model)
    assert "- krona\n- lora\n" in card


def run_card(export: Path, backbone: Path) -> dict[str, Any]:
    """Run the code of an export's model card, and return its variables."""
    (code,) = re.findall(r"```python\n(.*?)```", (export / "README.md").read_text(), flags=re.DOTALL)
    loaded: dict[str, Any] = {}
    exec(code.replace("BACKBONE_FOLDER", str(backbone)).replace("FOLDER", str(export)), loaded)
    return loaded


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize(
    ("kind", "pooling", "form"),
    [
        ("t5", "null", "merged"),
        pytest.param("t5", "null", "peft", marks=pytest.mark.slow),
        ("bert", "null", "peft"),
        pytest.param("llama", "null", "merged", marks=pytest.mark.slow),
        ("bert", "mean", "merged"),
        ("bert", "first", "peft"),
        ("mpnet", "mean", "peft"),
    ],
)
def test_the_cards_code_runs(
    kind: str, pooling: str, form: str, backbones: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = trained(backbones, "method=lora", f"backbone.pooling={pooling}", kind=kind)
    export(found, to=form, out=tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert found.origin.run_id in card
    assert not [path for path in (*backbones.values(), tmp_path) if str(path) in card]
    capsys.readouterr()
    loaded = run_card(tmp_path / "out", backbones[kind])
    said = capsys.readouterr().out
    assert ("tensor([[" in said) == (kind not in ("t5", "llama"))
    if pooling in ("first", "mean"):
        assert ("trust_remote_code=True" in card) == (form == "merged")
        assert ('AutoTokenizer.from_pretrained("FOLDER", trust_remote_code=True)' in card) == (form == "merged")
        assert ("cannot load this folder into an `AutoModelForSequenceClassification`" in card) == (form == "peft")
        rows = loaded["tokenizer"](["the cat sat", "no"], ["the dog", "yes"], padding=True, return_tensors="pt")
        expected = load(found).model(**rows).logits
        logits = loaded["model"](**rows)
        logits = logits.logits if form == "merged" else logits
        assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_pooled_model_is_not_loaded_with_another_head(
    backbones: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)  # transformers must not ask
    found = trained(backbones, "method=lora", "backbone.pooling=mean", kind="bert")
    out = tmp_path / "out"
    lines = export(found, to="merged", out=out)
    assert "load this model with trust_remote_code=True, or train with backbone.pooling=pooler" in " ".join(lines)
    with pytest.raises(ValueError, match="trust_remote_code"):
        AutoModelForSequenceClassification.from_pretrained(out)
    with pytest.raises(ValueError, match="trust_remote_code"):
        AutoModelForSequenceClassification.from_pretrained(out, trust_remote_code=False)
    with pytest.raises((AssertionError, RuntimeError), match=r"Padding_idx|mismatch"):
        BertForSequenceClassification.from_pretrained(out)  # it would predict with a random pooler
    # krona reads the folder without running its code
    (out / "modeling_krona.py").write_text("raise SystemExit('must not run')")
    values = [*one_job.typed(out, backbones["data"]), "keep=all", "trainer.max_epochs=1", "method=lora"]
    again = load(find(finished(tmp_path / "runs", *values)))
    assert (again.model.config.krona_pooling, again.model.config.model_type) == ("mean", "bert")
    rows = [{"sentence1": "the cat", "sentence2": "a dog"}]
    assert again.predict(rows)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_the_cards_code_loads_a_backbone_in_the_runs_number_format(backbones: dict[str, Path], tmp_path: Path) -> None:
    folder = write_backbone(tmp_path / "t5")
    T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    found = trained({**backbones, "t5": folder}, "method=lora", outputs=tmp_path / "runs")
    export(found, to="peft", out=tmp_path / "out")
    loaded = run_card(tmp_path / "out", folder)
    rows = {"input_ids": torch.arange(2, 12).view(2, 5), "decoder_input_ids": torch.zeros(2, 1, dtype=torch.long)}
    expected = load(found).model(**rows).logits
    assert (loaded["model"](**rows).logits - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_refused_options(backbones: dict[str, Path], tmp_path: Path) -> None:
    found = trained(backbones, "method=lora")
    for arguments, words in [
        ({"to": "merge", "out": tmp_path / "x"}, "did you mean 'merged'"),
        ({"to": "peft", "out": tmp_path / "x", "dtype": "bf16"}, "--to peft --dtype bf16 is not possible"),
        ({"to": "merged", "out": tmp_path / "x", "dtype": "int4"}, "--dtype int4 is not possible. --to merged can"),
    ]:
        with pytest.raises(KronaError, match=re.escape(words)):
            export(found, **arguments)
    assert not (tmp_path / "x").exists()


def test_a_full_disk_leaves_nothing(
    backbones: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = trained(backbones, "method=lora")
    for error in (OSError(28, "No space left on device"), SafetensorError("I/O: No space left (os error 28)")):
        monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", Mock(side_effect=error))
        with pytest.raises(KronaError, match=r"could not be written.*No space left"):
            export(found, to="merged", out=tmp_path / "out" / "x")
        assert list((tmp_path / "out").iterdir()) == []
