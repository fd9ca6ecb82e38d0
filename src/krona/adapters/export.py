"""`krona export`: write a trained model or adapter in a format for other programs, and check the result."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelCardData
from torch import Tensor
from transformers import PreTrainedModel

from krona import surgery
from krona.adapters import modeling_krona
from krona.adapters.find import Origin, TrainedRun
from krona.adapters.modeling_krona import PooledConfig, PooledForSequenceClassification
from krona.adapters.peft_folder import copy_for_peft, write_peft
from krona.adapters.predictor import Predictor, load_predictor
from krona.backbones.families import find_architecture
from krona.backbones.families.architecture import get_pooling, has_pooled_head
from krona.backbones.peft_branch import quiet
from krona.config.model_folder import write_pooling
from krona.display_names import BENCHMARKS, KINDS
from krona.messages import KronaError, did_you_mean, join_names
from krona.metrics.scores.metric import DEFAULT_THRESHOLD
from krona.runs.description import describe_data
from krona.runs.predictions import label_words
from krona.safe_files import read_json

TEMPLATE = Path(__file__).with_name("model_card.md.jinja")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 1e-2}  # the largest allowed error, as a fraction of the largest logit
TASK_TYPES = {"Seq2SeqLM": "SEQ_2_SEQ_LM", "CausalLM": "CAUSAL_LM", "SequenceClassification": "SEQ_CLS"}


def export(
    run: TrainedRun,
    *,
    to: str,
    out: Path,
    dtype: str | None = None,
    backbone: str | None = None,
) -> list[str]:
    """Write a run's model or adapter to a new folder, load this folder again, and check that the logits are the same.

    Return messages for the user.

    Args:
        to: ``merged`` (a complete model for transformers) or ``peft`` (a folder for peft).
        out: the folder of the export.
        dtype: the dtype of the weights (fp32, bf16 or fp16), only for ``merged``. None means fp32.

    Raises:
        KronaError: ``to`` or ``dtype`` is invalid, the run trained no adapter, the format does not support the method,
            the logits of the exported model differ, or ``out`` exists or cannot be written. No incomplete folder is
            left behind.
    """
    if to not in FORMS:
        raise KronaError(
            f"--to {to} is not an export format: {did_you_mean(to, FORMS)} (merged is a model for transformers)"
        )
    if dtype is not None and (to != "merged" or dtype not in DTYPES):
        raise KronaError(f"--to {to} --dtype {dtype} is not possible. --to merged can have {', '.join(DTYPES)}.")
    if run.adapter is None and to != "merged":
        raise KronaError(f"{run.origin.run_id} trained nothing, so there is no adapter to export.")
    write, read = FORMS[to]
    with new_folder(out) as part:
        trained = load_predictor(run, backbone=backbone)
        expected = sample_logits(trained)
        is_bf16 = any(p.dtype is torch.bfloat16 for p in trained.model.parameters())
        tolerance = max(TOLERANCE[dtype or "fp32"], TOLERANCE["bf16" if is_bf16 else "fp32"])
        try:
            lines = write(trained, part, DTYPES[dtype or "fp32"])
        except KronaError as error:
            raise KronaError(f"--to {to} is not possible. {error}") from error
        difference = compare_logits(read(trained, part), expected)
        if not difference <= tolerance:
            raise KronaError(
                f"--to {to} failed, because the logits of the exported model differ by {difference:.2g} times the "
                "largest logit. Nothing was exported."
            )
        if has_pooled_head(trained.model.config):
            way = "load this model with trust_remote_code=True" if to == "merged" else "use the code in README.md"
            lines.append(
                f"transformers has no class for a classifier with the pooling {get_pooling(trained.model.config)}: "
                f"{way}, or train with backbone.pooling={find_architecture(trained.model).library_pooling}"
            )
        text = model_card(run, to, lines, auto=trained.family.auto.__name__, model=trained.model)
        (part / "README.md").write_text(text, encoding="utf-8")
    same = "identical" if not difference else f"equal up to {difference:.1e} times the largest logit"
    return [*lines, f"the logits of the exported model and of the run are {same}"]


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder next to ``out``, and rename it to ``out`` when it is complete.

    Raises:
        KronaError: ``out`` exists or cannot be written.
    """
    if os.path.lexists(out):
        raise KronaError(f"--out {out} exists. Remove it, or choose another folder.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{out.name}.partial-", dir=out.parent, ignore_cleanup_errors=True) as folder:
            part = Path(folder, "new")
            part.mkdir()
            yield part
            for file in filter(Path.is_file, part.rglob("*")):
                file.chmod(part.stat().st_mode & 0o666)  # only their owner can read the files that safetensors writes
            part.rename(out)
    except Exception as error:
        # Rust libraries report OS errors with this text
        if not isinstance(error, OSError | RuntimeError) and "(os error " not in str(error):
            raise
        raise KronaError(f"{out} could not be written: {error}") from error


def compare_logits(trained: Predictor, expected: Tensor) -> float:
    """Return the largest difference between `sample_logits` and ``expected``, as a fraction of the largest logit."""
    return float((sample_logits(trained) - expected).abs().max() / expected.abs().max())


def sample_logits(trained: Predictor) -> Tensor:
    """Return the logits (4, …) for four artificial rows with words from the task, in fp32 on the CPU."""
    words = " ".join([*trained.task.columns, *label_words(trained.origin.task).values(), "one two three"])
    rows = [[f"{words} {column} {number}" for column in trained.task.columns] for number in range(4)]
    with quiet():
        return trained.logits(trained.make_split(rows))


def _write_merged(trained: Predictor, folder: Path, dtype: torch.dtype) -> list[str]:
    model: Any = trained.model
    if trained.run.adapter is not None:
        surgery.bake(model)
    words = label_words(trained.origin.task)
    if not trained.family.generates_text and words:
        model.config.id2label = dict(enumerate(words.values()))
        model.config.label2id = {word: number for number, word in enumerate(words.values())}
    model.config.name_or_path = ""  # do not save a local path
    if trained.origin.threshold is not None:
        model.config.krona_threshold = trained.origin.threshold
    model.to(dtype).save_pretrained(folder)
    tokenizer = deepcopy(trained.family.tokenizer)  # models in this process share the tokenizer
    tokenizer.model_max_length = trained.origin.max_source_length
    tokenizer.save_pretrained(folder)
    if not has_pooled_head(model.config):
        return [f"a complete {type(model).__name__} for transformers"]
    write_pooling(folder, model.config.krona_pooling)
    _write_pooled_code(model, folder)
    return [f"a complete {PooledForSequenceClassification.__name__} for transformers"]


def _write_pooled_code(model: PreTrainedModel, folder: Path) -> None:
    """Write the code of a pooled model, and name it in config.json, so that no other class loads the model."""
    code, file = Path(modeling_krona.__file__), folder / "config.json"
    shutil.copyfile(code, folder / code.name)
    encoder = read_json(file)
    config = {
        "model_type": PooledConfig.model_type,
        "architectures": [PooledForSequenceClassification.__name__],
        "auto_map": {
            "AutoConfig": f"{code.stem}.{PooledConfig.__name__}",
            "AutoModelForSequenceClassification": f"{code.stem}.{PooledForSequenceClassification.__name__}",
        },
        "encoder_type": encoder.pop("model_type"),  # in "encoder", the encoder's own class would find its config
        "encoder": encoder,
        "encoder_name": model.base_model_prefix,
        "krona_pooling": model.config.krona_pooling,
        "vocab_size": 1,  # the encoder's own class, such as BertForSequenceClassification, fails with this value
        **{key: encoder[key] for key in ("dtype", "id2label", "label2id", "problem_type") if key in encoder},
    }
    file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _read_merged(trained: Predictor, folder: Path) -> Predictor:
    kind: Any = type(trained.model)
    if has_pooled_head(trained.model.config):  # the class that transformers loads from the folder's code
        kind = PooledForSequenceClassification
    model = kind.from_pretrained(folder, dtype="auto").to(trained.model.device).eval()
    return replace(trained, model=model, in_bf16=False)


def _write_peft(trained: Predictor, folder: Path, dtype: torch.dtype) -> list[str]:
    kind = type(trained.model).__name__
    usual = next((word for part, word in TASK_TYPES.items() if part in kind), "SEQ_2_SEQ_LM")
    # if the config had a task type, peft would load a class of transformers, without krona's head
    task_type = None if has_pooled_head(trained.model.config) else usual
    base, revision = hub_source(trained.origin)
    config = write_peft(trained.model, folder, base_model=base, revision=revision, task_type=task_type)
    rank = f" and rank {config['r']}" if config["peft_type"] == "LORA" else ""
    return [f"a folder for peft with an adapter of type {config['peft_type']}{rank}"]


def _read_peft(trained: Predictor, folder: Path) -> Predictor:
    import peft

    surgery.take_out(trained.model)
    with quiet():
        model: Any = peft.PeftModel.from_pretrained(copy_for_peft(trained.model), str(folder), low_cpu_mem_usage=True)
    return replace(trained, model=model.eval())


# maps each format to the function that writes its folder and returns messages, and the function that loads the folder
FORMS = {
    "merged": (_write_merged, _read_merged),
    "peft": (_write_peft, _read_peft),
}


def model_card(run: TrainedRun, form: str, lines: list[str], *, auto: str, model: PreTrainedModel) -> str:
    """Return the text of README.md for an export of a run.

    Args:
        form: the format of the export: merged or peft.
        lines: messages about the export.
        auto: the name of the transformers Auto class for the backbone.
        model: the exported model.
    """
    origin, task = run.origin, run.origin.task_settings
    columns, words, classifies = task.columns, label_words(run.origin.task), "Classification" in auto
    base, suffix = str(origin.backbone["name"]), " label:" if "Causal" in auto else ""
    labels = ", ".join(f'"{target}" is {word}' for target, word in words.items())
    pooled = get_pooling(model.config) if has_pooled_head(model.config) else None
    has_pooler = "add_pooling_layer" in signature(type(model.base_model).__init__).parameters
    output = "The class" if words else "The output"
    if task.is_multilabel:
        output = f"The classes with a probability (sigmoid) above {origin.threshold or DEFAULT_THRESHOLD:g}"
    as_text = f"the text `{origin.source_text({name: f'{{{name}}}' for name in columns})}{suffix}`"
    row = dict.fromkeys(columns, "…")
    hub_name, revision = hub_source(origin)
    data = ModelCardData(
        library_name="peft" if form == "peft" else "transformers",
        base_model=base if "/" in base else None,
        pipeline_tag="text-classification" if classifies else None,
        tags=sorted({"krona", origin.method}),
        datasets=[task.hub_dataset or "nyu-mll/glue"] if task.data_kind in BENCHMARKS else None,
        metrics=list(task.metrics),
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        origin=origin,
        base=base,
        task=f"sample data of {task.sample}" if task.data_kind == "sample" else task.name,
        form=form,
        lines=lines,
        columns=join_names([f"`{name}`" for name in columns]),
        reads=("a sentence" if len(columns) == 1 else "a pair") if classifies else as_text,
        writes=output if classifies else f"The model generates the label{'s, or `none`' if task.is_multilabel else ''}",
        labels=labels or ("a number" if classifies else "a number with one decimal place"),
        hub_name=hub_name,
        revision=revision,
        auto=auto,
        # without a dtype, transformers would use the dtype of the backbone's file
        dtype="bfloat16" if origin.precision in ("bf16-true", "bf16-frozen") else "float32",
        pooled=pooled,
        prefix=model.base_model_prefix,
        no_pooler=", add_pooling_layer=False" if has_pooler else "",
        num_labels=len(task.labels or "1"),
        text=json.dumps(f"{origin.source_text(row)}{suffix}", ensure_ascii=False),
        texts=", ".join('"…"' for _ in columns),
        data=KINDS[task.data_kind] if run.result is None else describe_data(run.result),
    )
    return str(card.content)


def hub_source(origin: Origin) -> tuple[str | None, str | None]:
    """Return the backbone's name on the Hub, and its branch, tag or commit (None for the default branch).

    For a backbone that is not on the Hub, return (None, None).
    """
    name = str(origin.backbone["name"])
    on_hub = "/" in name and origin.backbone.get("pretrained", True)
    return (name, origin.backbone.get("revision")) if on_hub else (None, None)
