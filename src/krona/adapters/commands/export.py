"""`krona export`: what a run trained, in a form that others load, checked before it is reported as done."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from krona import surgery
from krona.adapters.adapter import Adapter, AdapterConfig
from krona.adapters.commands import card, pooled_code
from krona.adapters.commands.export_folder import exported_folder
from krona.adapters.find import ADAPTER, TrainedRun
from krona.adapters.load import Trained, load
from krona.adapters.origin import NOTE
from krona.adapters.peft.reading import read_peft
from krona.adapters.peft.writing import write_peft
from krona.backbones.families.pooling import has_pooled_head
from krona.config.pooling import write_pooling
from krona.messages import KronaError, did_you_mean
from krona.runs.predictions import label_words
from krona.tasks.hub import unreachable

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TASK_TYPES = {"Seq2SeqLM": "SEQ_2_SEQ_LM", "CausalLM": "CAUSAL_LM", "SequenceClassification": "SEQ_CLS"}
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 1e-2}  # of the largest logit, for rounding


@dataclass(frozen=True, kw_only=True)
class Export:
    """A folder that was written. lines: for the user. difference: of the logits, relative to the largest of them."""

    folder: Path
    lines: list[str]
    difference: float


def export(
    run: TrainedRun,
    *,
    to: str,
    out: Path,
    dtype: str | None = None,
    push: str | None = None,
    backbone: str | None = None,
    overwrite: bool = False,
) -> Export:
    """Write a run's model or adapter into a new folder, load it from there, and compare the logits.

    Args:
        to: ``merged``: a whole model for plain transformers; ``peft``; ``adapter``: krona's own file.
        dtype: fp32, bf16 or fp16, of a whole model.
        push: a repository of the Hub to which the folder is uploaded.

    Raises:
        KronaError: the form can't hold the method, with the reason; the folder exists; the Hub refuses. No folder is
            left half-written.
    """
    if to not in FORMS:
        raise KronaError(f"--to {to}: {did_you_mean(to, FORMS)}")
    if dtype is not None and (dtype not in DTYPES or to != "merged"):
        what = did_you_mean(dtype, DTYPES) if to == "merged" else f"{to} keeps the adapter's own; take --to merged"
        raise KronaError(f"--dtype {dtype}: {what}")
    if push is not None and (why := unreachable()) is not None:
        raise KronaError(f"--push {push}: the Hub can't be reached ({why}). Without --push the folder is written here.")
    if run.adapter is None and to != "merged":
        raise KronaError(f"{run.origin.run_id} trained nothing: there is no adapter to export.")
    write, read = FORMS[to]
    with exported_folder(out, overwrite=overwrite) as part:
        trained = load(run, backbone=backbone)
        expected = logits_of(trained)
        try:
            lines = write(trained, part, DTYPES[dtype or "fp32"])
        except KronaError as error:
            raise KronaError(f"--to {to}: {error}. --to adapter keeps everything") from error
        difference = float((logits_of(read(trained, part)) - expected).abs().max() / expected.abs().max())
        if not difference <= TOLERANCE[dtype or "fp32"]:
            raise KronaError(
                f"--to {to}: loaded again, the logits differ by {difference:.2g} of the largest. Nothing is exported."
            )
        if has_pooled_head(trained.model.config) and to in pooled_code.LOADING:
            lines.append(pooled_code.NOTE.format(trained.model.config.krona_pooling))
        if dtype is not None:
            lines.append(f"weights in {dtype}, trained and scored in {run.origin.precision}")
        text = card.model_card(run, to, lines, auto=trained.family.auto.__name__, model=trained.model)
        (part / "README.md").write_text(text, encoding="utf-8")
    same = "identical" if not difference else f"those that it had, to {difference:.1e} of the largest"
    lines.append(f"loaded again, its logits are {same}")
    if push is not None:
        lines.append(_push(out, push))
    return Export(folder=out, lines=lines, difference=difference)


@torch.no_grad()
def logits_of(trained: Trained) -> Tensor:
    """Return the logits of a few rows made of the task's own words, in fp32 on the CPU."""
    words = " ".join([*trained.task.columns, *label_words(trained.origin.task).values(), "one two three"])
    rows = [[f"{words} {column} {number}" for column in trained.task.columns] for number in range(4)]
    split = trained.split_of(rows)
    ids = trained.family.sources(split, range(len(split)), longest=trained.origin.max_source_length)
    label = trained.family.label((trained.task.target_strings() or ["1.0"])[0])
    batch = trained.batch(ids, range(len(split)), label=label)
    logits: Tensor = trained.model(**trained.family.inputs(trained.model, batch)).logits
    return logits.float().cpu()


def _write_merged(trained: Trained, folder: Path, dtype: torch.dtype) -> list[str]:
    model: Any = trained.model
    if trained.adapter is not None:
        surgery.bake(model)
    words = label_words(trained.origin.task)
    if not trained.family.writes and words:
        model.config.id2label = dict(enumerate(words.values()))
        model.config.label2id = {word: number for number, word in enumerate(words.values())}
    model.config.name_or_path = ""  # a path of this machine is of no use elsewhere
    model.to(dtype).save_pretrained(folder)
    trained.family.tokenizer.save_pretrained(folder)
    if has_pooled_head(model.config):
        write_pooling(folder, model.config.krona_pooling)
    return [f"a whole {type(model).__name__} for plain transformers"]


def _read_merged(trained: Trained, folder: Path) -> Trained:
    kind: Any = type(trained.model)
    model, keys = kind.from_pretrained(folder, output_loading_info=True, dtype="auto")
    wrong = sorted(str(name) for names in keys.values() for name in names)
    if wrong:
        raise KronaError(f"The written model does not load whole: {len(wrong)} tensors, first {wrong[0]}.")
    model.to(trained.model.device).eval()
    return replace(trained, model=model)


def _write_peft(trained: Trained, folder: Path, dtype: torch.dtype) -> list[str]:
    kind = type(trained.model).__name__
    found = next((word for part, word in TASK_TYPES.items() if part in kind), "SEQ_2_SEQ_LM")
    task_type = None if has_pooled_head(trained.model.config) else found  # peft would look for the library's class
    written = write_peft(trained.model, folder, base_model=card.base_of(trained.origin), task_type=task_type)
    (folder / card.ORIGIN).write_text(card.origin_json(trained.origin), encoding="utf-8")
    lines = [f"a folder for peft, of its type {written.peft_type}, {written.places} places"]
    if written.values > written.own_values > 0:
        lines.append(f"{written.values:,} numbers in that form; krona's own branches have {written.own_values:,}")
    return lines


def _read_peft(trained: Trained, folder: Path) -> Trained:
    surgery.take_out(trained.model)
    read_peft(trained.model, folder).adapter.insert(trained.model)
    model: Any = trained.model
    model.eval()
    return trained


def _write_adapter(trained: Trained, folder: Path, dtype: torch.dtype) -> list[str]:
    assert trained.adapter is not None
    config = AdapterConfig.read(trained.adapter)
    if NOTE in config.notes:
        shutil.copyfile(trained.adapter, folder / ADAPTER)
    else:  # of an earlier version: the file alone would not be enough
        notes = config.notes | trained.origin.as_note()
        Adapter.of(trained.model, notes=notes, backbone=config.backbone).save(folder / ADAPTER)
    size = (folder / ADAPTER).stat().st_size
    return [f"{ADAPTER}, {size:,} bytes, for krona.load and krona.surgery"]


def _read_adapter(trained: Trained, folder: Path) -> Trained:
    surgery.take_out(trained.model)
    return load(folder / ADAPTER, backbone=trained.origin.backbone_settings.path)


# each form's function that fills a folder and returns lines for the user, and the one that loads the folder
FORMS: Mapping[str, tuple[Callable[[Trained, Path, torch.dtype], list[str]], Callable[[Trained, Path], Trained]]] = {
    "merged": (_write_merged, _read_merged),
    "peft": (_write_peft, _read_peft),
    "adapter": (_write_adapter, _read_adapter),
}


def _push(folder: Path, repository: str) -> str:
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        api.create_repo(repository, exist_ok=True)
        url = api.upload_folder(repo_id=repository, folder_path=folder)
    except Exception as error:  # the Hub's client raises many kinds
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise KronaError(f"--push {repository}: the Hub refuses: {first[:300]}. {folder} is written.") from error
    return f"pushed to {url}"
