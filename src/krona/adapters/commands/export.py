"""`krona export`: write a trained model or adapter in a form for other programs, and check the result."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from krona import surgery
from krona.adapters.adapter import Adapter, AdapterConfig
from krona.adapters.commands.export_folder import exported_folder
from krona.adapters.commands.model_card import (
    ORIGIN,
    POOLING_NOTE,
    hub_name,
    hub_revision,
    model_card,
    needs_class,
    origin_json,
)
from krona.adapters.find import TrainedRun
from krona.adapters.load import Trained, load
from krona.adapters.origin import NOTE
from krona.adapters.peft.comparison import NotComparedError, load_with_peft
from krona.adapters.peft.reading import read_peft
from krona.adapters.peft.writing import write_peft
from krona.backbones.families.pooling import has_pooled_head
from krona.config.pooling import write_pooling
from krona.messages import KronaError, did_you_mean
from krona.runs.file_names import ADAPTER
from krona.runs.predictions import label_words

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 1e-2}  # the largest rounding error, as a fraction of the largest logit
SERVED_HEADS = ("score", "classifier")  # names of a head that vLLM loads from modules_to_save
TASK_TYPES = {"Seq2SeqLM": "SEQ_2_SEQ_LM", "CausalLM": "CAUSAL_LM", "SequenceClassification": "SEQ_CLS"}


def export(
    run: TrainedRun,
    *,
    to: str,
    out: Path,
    dtype: str | None = None,
    backbone: str | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write a run's model or adapter into a new folder, load it from this folder, and compare the logits.

    Return messages for the user.

    Args:
        to: ``merged`` (a complete model for transformers), ``peft`` (a folder for peft) or ``adapter`` (krona's file).
        out: the folder to write.
        dtype: the dtype of the weights (fp32, bf16 or fp16), only for ``merged``. None means fp32.

    Raises:
        KronaError: the form does not support the method, or the folder exists. Incomplete folders are removed.
    """
    if to not in FORMS:
        raise KronaError(f"--to {to} is not a form of an export: {did_you_mean(to, FORMS)}")
    if dtype is not None and to != "merged":
        raise KronaError(f"--dtype {dtype} is not possible: --to {to} keeps the dtype of the adapter. Use --to merged.")
    if dtype not in (None, *DTYPES):
        raise KronaError(f"--dtype {dtype} is not possible: {did_you_mean(str(dtype), DTYPES)}")
    if run.adapter is None and to != "merged":
        raise KronaError(f"{run.origin.run_id} trained nothing, so there is no adapter to export.")
    write, read = FORMS[to]
    with exported_folder(out, overwrite=overwrite) as part, _named_branch_faults(run, backbone):
        trained = load(run, backbone=backbone)
        expected = sample_logits(trained)
        is_bf16 = any(p.dtype is torch.bfloat16 for p in trained.model.parameters())
        tolerance = max(TOLERANCE[dtype or "fp32"], TOLERANCE["bf16" if is_bf16 else "fp32"])
        try:
            lines = write(trained, part, DTYPES[dtype or "fp32"])
        except KronaError as error:
            raise KronaError(
                f"--to {to} is not possible. {error} Or use --to adapter, which supports every method."
            ) from error
        difference = compare_logits(read(trained, part), expected)
        if to == "peft":
            try:
                surgery.take_out(trained.model)
                by_peft: Any = load_with_peft(trained.model, part)
                difference = max(difference, compare_logits(replace(trained, model=by_peft), expected))
            except NotComparedError as error:
                lines.append(f"the logits were not compared with peft's. {error}")
        if not difference <= tolerance:
            raise KronaError(
                f"--to {to} failed, because the logits of the exported model differ by {difference:.2g} of the largest "
                "logit. Nothing was exported."
            )
        if needs_class(trained.model, to):
            lines.append(POOLING_NOTE.format(trained.model.config.krona_pooling))
        if dtype is not None:
            lines.append(f"the weights are in {dtype}, but the run was trained and scored in {run.origin.precision}")
        text = model_card(run, to, lines, auto=trained.family.auto.__name__, model=trained.model)
        (part / "README.md").write_text(text, encoding="utf-8")
    same = "identical" if not difference else f"equal up to {difference:.1e} of the largest logit"
    return [*lines, f"the logits of the exported model are {same}"]


@contextmanager
def _named_branch_faults(run: TrainedRun, backbone: str | None) -> Iterator[None]:
    """Replace an error by one that names the branch, if ``forward`` or ``delta`` of a user's method is wrong."""
    try:
        yield
    except (KronaError, RuntimeError) as error:
        fault = None if run.adapter is None else surgery.find_branch_fault(load(run, backbone=backbone).model)
        if fault is None:
            raise
        raise KronaError(f"{fault} Nothing was exported.") from error


def compare_logits(trained: Trained, expected: Tensor) -> float:
    """Return the largest difference of the `sample_logits` from ``expected``, relative to the largest logit."""
    return float((sample_logits(trained) - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def sample_logits(trained: Trained) -> Tensor:
    """Return the logits of four rows that consist of words of the task, (4, …) in fp32 on the CPU."""
    words = " ".join([*trained.task.columns, *label_words(trained.origin.task).values(), "one two three"])
    rows = [[f"{words} {column} {number}" for column in trained.task.columns] for number in range(4)]
    split = trained.make_split(rows)
    ids = trained.family.sources(split, range(len(split)), longest=trained.origin.max_source_length)
    batch = trained.batch(ids, range(len(split)))
    with trained.autocast():
        logits: Tensor = trained.model(**trained.family.inputs(trained.model, batch)).logits
    return logits.float().cpu()


def _write_merged(trained: Trained, folder: Path, dtype: torch.dtype) -> list[str]:
    model: Any = trained.model
    if trained.adapter is not None:
        surgery.bake(model)
    words = label_words(trained.origin.task)
    if not trained.family.generates_text and words:
        model.config.id2label = dict(enumerate(words.values()))
        model.config.label2id = {word: number for number, word in enumerate(words.values())}
    model.config.name_or_path = ""  # without a path of this machine
    model.to(dtype).save_pretrained(folder)
    trained.family.tokenizer.save_pretrained(folder)
    if has_pooled_head(model.config):
        write_pooling(folder, model.config.krona_pooling)
    return [f"a complete {type(model).__name__} for transformers"]


def _read_merged(trained: Trained, folder: Path) -> Trained:
    kind: Any = type(trained.model)
    model, keys = kind.from_pretrained(folder, output_loading_info=True, dtype="auto")
    wrong = sorted(str(name) for names in keys.values() for name in names)
    if wrong:
        raise KronaError(
            f"The exported model cannot be loaded completely. {len(wrong)} tensors differ (first {wrong[0]})."
        )
    model.to(trained.model.device).eval()
    return replace(trained, model=model)


def _write_peft(trained: Trained, folder: Path, dtype: torch.dtype) -> list[str]:
    kind = type(trained.model).__name__
    found = next((word for part, word in TASK_TYPES.items() if part in kind), "SEQ_2_SEQ_LM")
    # with a task type, peft would load a class of transformers
    task_type = None if has_pooled_head(trained.model.config) else found
    base, revision = hub_name(trained.origin), hub_revision(trained.origin)
    written = write_peft(trained.model, folder, base_model=base, revision=revision, task_type=task_type)
    (folder / ORIGIN).write_text(origin_json(trained.origin), encoding="utf-8")
    lines = [f"a folder for peft, of peft's type {written.peft_type}, with {written.places} adapted modules"]
    if written.values > written.own_values > 0:
        form = f"a LoRA of rank {written.config['r']}" if written.peft_type == "LORA" else "this form"
        lines.append(f"the branches have {written.values:,} numbers in {form}, and {written.own_values:,} in krona's")
    if refused := refused_by_servers(written.config):
        lines.append(f"servers of adapters such as vLLM refuse {' and '.join(refused)}")
    return lines


def refused_by_servers(config: Mapping[str, Any]) -> list[str]:
    """Return the parts of a peft config that servers of adapters refuse, by the rules of vLLM's `PEFTHelper`."""
    refused = []
    if config["peft_type"] != "LORA" or config.get("use_dora"):
        refused.append("DoRA" if config.get("use_dora") else f"the type {config['peft_type']} (they accept LORA)")
    modules = [name for name in config["modules_to_save"] or [] if name.rpartition(".")[2] not in SERVED_HEADS]
    if norms := [name for name in modules if re.search(r"norm|\bln_", name.lower())]:
        refused.append(f"trained LayerNorms such as {norms[0]} (train with method.train_layer_norms=false)")
    if heads := [name for name in modules if name not in norms]:
        refused.append(f"the trained {', '.join(heads)} (they accept only {' and '.join(SERVED_HEADS)})")
    return refused


def _read_peft(trained: Trained, folder: Path) -> Trained:
    surgery.take_out(trained.model)
    read_peft(trained.model, folder).adapter.insert(trained.model)
    return trained


def _write_adapter(trained: Trained, folder: Path, dtype: torch.dtype) -> list[str]:
    assert trained.adapter is not None
    config = AdapterConfig.read(trained.adapter)
    if NOTE in config.notes:
        shutil.copyfile(trained.adapter, folder / ADAPTER)
    else:  # files of earlier versions do not contain their origin
        notes = config.notes | trained.origin.as_note()
        Adapter.of(trained.model, notes=notes, backbone=config.backbone).save(folder / ADAPTER)
    size = (folder / ADAPTER).stat().st_size
    return [f"{ADAPTER}, {size:,} bytes, for krona.load and krona.surgery"]


def _read_adapter(trained: Trained, folder: Path) -> Trained:
    surgery.take_out(trained.model)
    return load(folder / ADAPTER, backbone=trained.origin.backbone_settings.path)


# for each form, a function that writes the folder and returns messages, and a function that loads the folder
FORMS: Mapping[str, tuple[Callable[[Trained, Path, torch.dtype], list[str]], Callable[[Trained, Path], Trained]]] = {
    "merged": (_write_merged, _read_merged),
    "peft": (_write_peft, _read_peft),
    "adapter": (_write_adapter, _read_adapter),
}
