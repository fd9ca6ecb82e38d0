"""Write the model card of an export: the task, the Python code that loads the export and predicts, and the scores."""

import json
from inspect import signature
from pathlib import Path
from typing import Any

import yaml

from krona.adapters.find import TrainedRun
from krona.adapters.origin import Origin
from krona.backbones.families.pooling import get_pooling, has_pooled_head
from krona.messages import amount
from krona.runs.predictions import encode_answers, label_words
from krona.runs.result import Result
from krona.runs.suspicious_scores import remarks

ORIGIN = "krona.json"  # a file in an exported peft folder that contains the origin, for `krona import`
DATA = {
    "glue": "GLUE's rows",
    "sample": "sample data that krona generates, which are not GLUE's rows",
    "own": "own data",
}
SOURCE = ("kind", "name", "revision", "protocol")  # keys of the section data that only GLUE's tasks use
SETTINGS = ("method", "optimizer", "trainer", "data", "batch_size", "max_source_length", "seed")
NO_HUB_NAME = "BACKBONE_FOLDER"  # a placeholder in the code for a backbone that is not on the Hub
POOLING_NOTE = (
    "transformers has no class for a classifier with the pooling {}; README.md contains the code that loads it"
)
LOADING = {
    "merged": """from transformers import {auto}, AutoTokenizer

model = {auto}.from_pretrained("FOLDER").eval()
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
{use}""",
    "peft": """from peft import PeftModel
from transformers import {auto}, AutoTokenizer

backbone = {auto}.from_pretrained("{base}"{revision}, dtype="{dtype}"{labels})
model = PeftModel.from_pretrained(backbone, "FOLDER").eval()
tokenizer = AutoTokenizer.from_pretrained("{base}"{revision})
{use}""",
    "adapter": """import krona

trained = krona.load("FOLDER/adapter.safetensors")
trained.predict([{row}])""",
}
USE = {  # the code by a part of the Auto class's name
    "Classification": """print(model(**tokenizer({texts}, return_tensors="pt")).logits)""",
    "Seq2Seq": """ids = model.generate(**tokenizer("{text}", return_tensors="pt"), max_new_tokens=8, do_sample=False)
print(tokenizer.decode(ids[0], skip_special_tokens=True))""",
    "Causal": """inputs = tokenizer("{text} label:", return_tensors="pt")
ids = model.generate(**inputs, max_new_tokens=8, do_sample=False)
print(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))""",
}
POOLED = {
    "first": "states[:, 0]",
    "mean": "(states * attention_mask.unsqueeze(-1)).sum(1) / attention_mask.sum(1, keepdim=True)",
}
CLASS = """class Classifier(torch.nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.{prefix} = encoder
        self.classifier = torch.nn.Linear(encoder.config.hidden_size, {labels})

    def forward(self, attention_mask, **inputs):
        states = self.{prefix}(attention_mask=attention_mask, **inputs).last_hidden_state
        return self.classifier({pooled})


"""
POOLED_LOADING = {
    "merged": """import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoTokenizer


{cls}model = Classifier(AutoModel.from_config(AutoConfig.from_pretrained("FOLDER"){no_pooler})).eval()
model.load_state_dict(load_file("FOLDER/model.safetensors"))
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
print(model(**tokenizer({texts}, return_tensors="pt")))""",
    "peft": """import torch
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer


{cls}backbone = Classifier(AutoModel.from_pretrained("{base}"{revision}, dtype="float32"{no_pooler}))
model = PeftModel.from_pretrained(backbone, "FOLDER").eval()
tokenizer = AutoTokenizer.from_pretrained("{base}"{revision})
print(model(**tokenizer({texts}, return_tensors="pt")))""",
}


def origin_json(origin: Origin) -> str:
    """Return the content of krona.json: the origin of the adapter as JSON.

    The path of a backbone's folder is shortened to the name of the folder, so that it contains no path of this machine.
    """
    note, path = json.loads(next(iter(origin.as_note().values()))), origin.backbone.get("path")
    backbone = {**origin.backbone, "path": None if path is None else Path(path).name}
    return json.dumps({**note, "backbone": backbone}, indent=1, sort_keys=True) + "\n"


def model_card(run: TrainedRun, form: str, lines: list[str], *, auto: str, model: Any) -> str:
    """Return the text of README.md. ``auto`` is the name of the Auto class of transformers for the backbone."""
    origin = run.origin
    task, base = origin.task_settings, str(origin.backbone["name"])
    name = task.sample or task.name
    kind = f"sample data of {name}" if task.kind == "sample" else name
    parts = [
        f"---\n{yaml.safe_dump(front_matter(origin, form, base, auto), sort_keys=False)}---",
        f"# {base}, tuned with {origin.method} on {kind}",
        f"Trained with krona (run `{origin.run_id}`) and exported in the form `{form}`: {'; '.join(lines)}.",
        f"## Input and output\n\n{_describe_task(origin, auto)}",
        f"## How to load it\n\n```python\n{loading_code(origin, form, auto=auto, model=model)}\n```",
        f"## Scores\n\n{_scores(run)}",
    ]
    if run.result is not None:
        settings = card_settings(run.result, task.kind)
        parts.append(f"## Settings\n\n```yaml\n{yaml.safe_dump(settings, sort_keys=True)}```")
    return "\n\n".join(parts) + "\n"


def card_settings(result: Result, kind: str) -> dict[str, Any]:
    """Return the settings of a run for its card: without paths, and with GLUE's source only for GLUE's tasks."""
    settings = {key: result.config.get(key) for key in SETTINGS}
    if isinstance(settings["data"], dict):
        hidden = ("path",) if kind == "glue" else ("path", *SOURCE)
        settings["data"] = {key: value for key, value in settings["data"].items() if key not in hidden}
    return settings


def front_matter(origin: Origin, form: str, base: str, auto: str) -> dict[str, Any]:
    front: dict[str, Any] = {"library_name": {"peft": "peft", "adapter": "krona"}.get(form, "transformers")}
    if "/" in base:
        front["base_model"] = base
    if "Classification" in auto:
        front["pipeline_tag"] = "text-classification"
    front["tags"] = sorted({"krona", origin.method})
    if origin.task_settings.kind == "glue":
        front["datasets"] = ["nyu-mll/glue"]
    return front | {"metrics": list(origin.task_settings.metrics)}


def _describe_task(origin: Origin, auto: str) -> str:
    names = origin.task_settings.columns
    columns = " and ".join(f"`{name}`" for name in names)
    words = label_words(origin.task)
    labels = ", ".join(f'"{target}" is {word}' for target, word in words.items())
    if "Classification" in auto:
        reads, writes = "a sentence" if len(names) == 1 else "a pair", "The class" if words else "The output"
        labels = labels or "a number"
    else:
        labels = labels or "a number with one decimal place"
        text = origin.source_text({name: f"{{{name}}}" for name in names})
        reads, writes = f"the text `{text}{' label:' if 'Causal' in auto else ''}`", "It generates the label"
    return f"The model reads {columns} as {reads}, cut to {origin.max_source_length} tokens. {writes}: {labels}."


def _scores(run: TrainedRun) -> str:
    origin, result = run.origin, run.result
    rows = [
        f"| {split} | {', '.join(f'{name} {value:.2f}' for name, value in parts.items())} |"
        for split, parts in origin.scores.items()
    ]
    limits = [
        f"Data: {DATA[origin.task_settings.kind]}. The scores are of one seed ({origin.seed}), and the epoch "
        "was selected by the dev score."
    ]
    if result is not None:
        sizes = {split: result.splits.get(split, {}).get("rows") for split in ("train", "dev", "test")}
        counts = ", ".join(f"{split} {amount(count, 'row')}" for split, count in sizes.items() if count)
        trained = f"{result.trainable_params:,} ({result.trainable_percent:.4g} % of the backbone)"
        head = f" and a new head of {result.head_params:,}" if result.head_params else ""
        limits.append(f"Rows: {counts}. Trained parameters: {trained}{head}.")
        if not result.provenance.get("pretrained", True):
            limits.append("The backbone has random weights.")
        limits += [f"Note of the run: {note}." for note in result.notes]
        answers = encode_answers(result)
        limits += [f"{one.text}." for one in remarks(result, answers, "test" if "test" in answers else "dev")]
    return "\n".join(["| split | scores |", "|---|---|", *rows, "", *(f"- {limit}" for limit in limits)])


def hub_name(origin: Origin) -> str | None:
    """Return the backbone's name on the Hub, or None if it is not on the Hub."""
    name = str(origin.backbone["name"])
    return name if "/" in name and origin.backbone.get("pretrained", True) else None


def hub_revision(origin: Origin) -> str | None:
    """Return the branch, tag or commit of a backbone on the Hub, or None for the default or another backbone."""
    return None if hub_name(origin) is None else origin.backbone.get("revision")


def needs_class(model: Any, form: str) -> bool:
    """Return whether transformers has no class for the exported model. This is the case for krona's own poolings."""
    return has_pooled_head(model.config) and form in POOLED_LOADING


def loading_code(origin: Origin, form: str, *, auto: str, model: Any) -> str:
    """Return the code that loads an exported model or adapter and predicts for a row. See `model_card`."""
    columns = origin.task_settings.columns
    revision = f', revision="{found}"' if (found := hub_revision(origin)) else ""
    values = {"base": hub_name(origin) or NO_HUB_NAME, "revision": revision, "texts": ", ".join('"…"' for _ in columns)}
    if needs_class(model, form):
        no_pooler = "add_pooling_layer" in signature(type(model.base_model).__init__).parameters
        cls = CLASS.format(
            prefix=model.base_model_prefix,
            labels=model.config.num_labels,
            pooled=POOLED[str(get_pooling(model.config))],
        )
        values |= {"cls": cls, "no_pooler": ", add_pooling_layer=False" if no_pooler else ""}
        return POOLED_LOADING[form].format(**values)
    row = dict.fromkeys(columns, "…")
    labels = f", num_labels={len(origin.task_settings.labels or '1')}" if "Classification" in auto else ""
    (use,) = (code for part, code in USE.items() if part in auto)
    # by default, transformers uses the number format of the backbone's file
    dtype = "bfloat16" if origin.precision in ("bf16-true", "bf16-frozen") else "float32"
    values |= {
        "use": use.format(text=origin.source_text(row), **values),
        "labels": labels,
        "auto": auto,
        "dtype": dtype,
    }
    return LOADING[form].format(row=json.dumps(row, ensure_ascii=False), **values)
