"""Write the model card of an export: the task, the Python code that loads the export and predicts, and the scores."""

import json
from inspect import signature
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData
from transformers import PreTrainedModel

from krona.adapters.find import TrainedRun
from krona.adapters.origin import Origin
from krona.backbones.families.architecture import get_pooling, has_pooled_head
from krona.display_names import BENCHMARKS, KINDS
from krona.messages import join_names
from krona.metrics.scores.metric import DEFAULT_THRESHOLD
from krona.runs.description import describe_data
from krona.runs.predictions import label_words

TEMPLATE = Path(__file__).with_name("model_card.md.jinja")


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
