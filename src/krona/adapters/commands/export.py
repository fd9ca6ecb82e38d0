"""`krona export`: what a run trained, in a form that others load, checked before it is said to be done."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from krona import surgery
from krona.adapters.commands import card, pooled_code
from krona.adapters.commands.export_folder import exported_folder
from krona.adapters.file import read_header, save_adapter
from krona.adapters.find import ADAPTER, Found
from krona.adapters.load import Trained, load
from krona.adapters.origin import NOTE
from krona.adapters.peft import read_peft, write_peft
from krona.backbones.families.pooling import pools
from krona.config.pooling import write_pooling
from krona.messages import KronaError, did_you_mean
from krona.outputs.predictions import label_words
from krona.tasks.hub import unreachable

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TASK_TYPES = {"Seq2SeqLM": "SEQ_2_SEQ_LM", "CausalLM": "CAUSAL_LM", "SequenceClassification": "SEQ_CLS"}
OPTIONS = {  # for a function that a message of surgery names
    "surgery.bake(model) merges it": "--to merged does it",
    "surgery.bake(model) merges what is linear, and krona.adapters.file.save_adapter(model, FILE) keeps "
    "everything": "--to adapter keeps everything",
    "surgery.bake(model) and save_pretrained write the model": "--to merged writes the model",
}
SAME = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}  # of the largest logit: rounding, no more


@dataclass(frozen=True, kw_only=True)
class Exported:
    """lines: what was written, for the user. difference: of the logits, of the largest of them."""

    folder: Path
    lines: list[str]
    difference: float


def export(
    found: Found,
    *,
    to: str,
    out: Path,
    dtype: str | None = None,
    push: str | None = None,
    backbone: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a run's model or adapter into a new folder, load it from there, and compare the logits.

    Args:
        to: ``merged``: a whole model for plain transformers; ``peft``; ``adapter``: krona's own file.
        dtype: fp32, bf16 or fp16, of a whole model.
        push: a repository of the Hub that gets the folder.

    Raises:
        KronaError: a form that can't hold the method, with the reason; a folder that exists; a Hub that refuses. No
            folder is left half-written.
    """
    if to not in FORMS:
        raise KronaError(f"--to {to}: {did_you_mean(to, FORMS)}")
    form = FORMS[to]
    if dtype is not None and (dtype not in DTYPES or not form.whole):
        what = did_you_mean(dtype, DTYPES) if form.whole else f"{to} keeps the adapter's own; take --to merged"
        raise KronaError(f"--dtype {dtype}: {what}")
    if push is not None and (why := unreachable()) is not None:
        raise KronaError(f"--push {push}: the Hub can't be reached ({why}): without --push the folder is written here")
    if found.adapter is None and not form.whole:
        raise KronaError(f"{found.origin.run_id} trained nothing: there is no adapter to export")
    with exported_folder(out, overwrite=overwrite) as part:
        trained = load(found, backbone=backbone)
        expected = logits_of(trained)
        lines = form.write(trained, part, DTYPES[dtype or "fp32"])
        difference = _difference(expected, logits_of(form.read(trained, part)))
        if not difference <= SAME[DTYPES[dtype or "fp32"]]:
            raise KronaError(
                f"--to {to}: loaded again, the logits differ by {difference:.2g} of the largest: nothing is exported"
            )
        if pools(trained.model.config) and to in pooled_code.LOADING:
            lines.append(pooled_code.NOTE.format(trained.model.config.krona_pooling))
        if dtype is not None:
            lines.append(f"weights in {dtype}, trained and scored in {found.origin.precision}")
        (part / "README.md").write_text(
            card.model_card(found, to, lines, auto=trained.family.auto.__name__, model=trained.model), encoding="utf-8"
        )
    same = "identical" if not difference else f"those that it had, to {difference:.1e} of the largest"
    lines.append(f"loaded again, its logits are {same}")
    if push is not None:
        lines.append(_pushed(out, push))
    return Exported(folder=out, lines=lines, difference=difference)


@torch.no_grad()
def logits_of(trained: Trained) -> Tensor:
    """The logits of a few rows made of the task's own words, in fp32 on the CPU."""
    words = " ".join([*trained.task.columns, *label_words(trained.origin.task).values(), "one two three"])
    rows = [[f"{words} {column} {number}" for column in trained.task.columns] for number in range(4)]
    split = trained.split_of(rows)
    ids = trained.family.sources(split, range(len(split)), longest=trained.origin.max_source_length)
    label = trained.family.label((trained.task.target_strings() or ["1.0"])[0])
    batch = trained.batch(ids, range(len(split)), label=label)
    logits: Tensor = trained.model(**trained.family.inputs(trained.model, batch)).logits
    return logits.float().cpu()


def _difference(expected: Tensor, found: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _as_options(error: KronaError) -> str:
    """A message of `krona.surgery` with this command's options for its functions."""
    text = str(error)
    for words, option in OPTIONS.items():
        text = text.replace(words, option)
    return text


def _save(trained: Trained, folder: Path, dtype: torch.dtype) -> None:
    model: Any = trained.model
    words = label_words(trained.origin.task)
    if not trained.family.writes and words:
        model.config.id2label = dict(enumerate(words.values()))
        model.config.label2id = {word: number for number, word in enumerate(words.values())}
    model.config.name_or_path = ""  # a path of this machine is of no use elsewhere
    model.to(dtype).save_pretrained(folder)
    trained.family.tokenizer.save_pretrained(folder)
    if pools(model.config):
        write_pooling(folder, model.config.krona_pooling)


def _merged(trained: Trained, folder: Path, dtype: torch.dtype) -> list[str]:
    if trained.adapter is not None:
        try:
            surgery.bake(trained.model)
        except KronaError as error:
            raise KronaError(f"--to merged: {error}. --to adapter writes krona's own file") from error
    _save(trained, folder, dtype)
    return [f"a whole {type(trained.model).__name__} for plain transformers"]


def _whole_again(trained: Trained, folder: Path) -> Trained:
    kind: Any = type(trained.model)
    model, keys = kind.from_pretrained(folder, output_loading_info=True, dtype="auto")
    wrong = sorted(str(name) for names in keys.values() for name in names)
    if wrong:
        raise KronaError(f"the written model does not load whole: {len(wrong)} tensors, first {wrong[0]}")
    return _with(trained, model)


def _peft(trained: Trained, folder: Path, dtype: torch.dtype) -> list[str]:
    kind = type(trained.model).__name__
    found = next((word for part, word in TASK_TYPES.items() if part in kind), "SEQ_2_SEQ_LM")
    task_type = None if pools(trained.model.config) else found  # peft would look for the library's class
    try:
        written = write_peft(trained.model, folder, base_model=card.base_of(trained.origin), task_type=task_type)
    except KronaError as error:
        raise KronaError(f"--to peft: {_as_options(error)}") from error
    (folder / card.ORIGIN).write_text(card.origin_json(trained.origin), encoding="utf-8")
    lines = [f"a folder for peft, of its type {written.peft_type}, {written.places} places"]
    if written.values > written.own_values > 0:
        lines.append(f"{written.values:,} numbers in that form; krona's own branches have {written.own_values:,}")
    return lines


def _peft_again(trained: Trained, folder: Path) -> Trained:
    surgery.take_out(trained.model)
    read_peft(trained.model, folder)
    return _with(trained, trained.model)


def _adapter(trained: Trained, folder: Path, dtype: torch.dtype) -> list[str]:
    assert trained.adapter is not None
    entry, notes = read_header(trained.adapter)
    if NOTE in notes:
        shutil.copyfile(trained.adapter, folder / ADAPTER)
    else:  # of an earlier version: the file alone would not be enough
        notes |= trained.origin.as_note()
        save_adapter(trained.model, folder / ADAPTER, notes=notes, backbone=entry["backbone"])
    size = (folder / ADAPTER).stat().st_size
    return [f"{ADAPTER}, {size:,} bytes, for krona.load and krona.surgery"]


def _adapter_again(trained: Trained, folder: Path) -> Trained:
    surgery.take_out(trained.model)
    return load(folder / ADAPTER, backbone=trained.origin.backbone_settings.path)


def _with(trained: Trained, model: Any) -> Trained:
    model.to(trained.model.device).eval()
    return Trained(trained.origin, model, trained.family, trained.task, trained.adapter)


@dataclass(frozen=True)
class Form:
    """write: fills a folder, says what it wrote. read: the model from the folder. whole: a model, not an adapter."""

    write: Callable[[Trained, Path, torch.dtype], list[str]]
    read: Callable[[Trained, Path], Trained]
    whole: bool = False


FORMS: Mapping[str, Form] = {
    "merged": Form(_merged, _whole_again, whole=True),
    "peft": Form(_peft, _peft_again),
    "adapter": Form(_adapter, _adapter_again),
}


def _pushed(folder: Path, repository: str) -> str:
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(repository, exist_ok=True)
        url = api.upload_folder(repo_id=repository, folder_path=folder)
    except Exception as error:  # the Hub's client raises many kinds
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise KronaError(f"--push {repository}: the Hub refuses: {first[:300]}. {folder} is written") from error
    return f"pushed to {url}"
