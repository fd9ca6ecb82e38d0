"""The model card of an export: what it is, its scores with their caveats, how to load it."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from krona.adapters.commands import pooled_code
from krona.adapters.find import TrainedRun
from krona.adapters.origin import Origin
from krona.backbones.families.pooling import has_pooled_head
from krona.messages import amount
from krona.runs.constant_predictions import remarks
from krona.runs.predictions import encode_answers, label_words
from krona.runs.result import Result

ORIGIN = "krona.json"  # beside a peft adapter: what krona needs to read it back
DATA = {
    "glue": "GLUE's rows",
    "sample": "sample data that krona generates: not a score on GLUE",
    "own": "own data",
}
SHOWN = ("method", "optimizer", "trainer", "data", "batch_size", "max_source_length", "seed")
PRIVATE = {"data": ("path",)}  # of the machine
LOADING = {
    "merged": """from transformers import {auto}, AutoTokenizer

model = {auto}.from_pretrained("FOLDER").eval()
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
{use}""",
    "peft": """from peft import PeftModel
from transformers import {auto}, AutoTokenizer

backbone = {auto}.from_pretrained("{base}"{labels})
model = PeftModel.from_pretrained(backbone, "FOLDER").eval()
tokenizer = AutoTokenizer.from_pretrained("{base}")
{use}""",
    "adapter": """import krona

trained = krona.load("FOLDER/adapter.safetensors")
trained.predict([{row}])""",
}
USE = {  # by what the class's name has in it
    "Classification": """print(model(**tokenizer({texts}, return_tensors="pt")).logits)""",
    "Seq2Seq": """ids = model.generate(**tokenizer("{text}", return_tensors="pt"), max_new_tokens=8, do_sample=False)
print(tokenizer.decode(ids[0], skip_special_tokens=True))""",
    "Causal": """inputs = tokenizer("{text} label:", return_tensors="pt")
ids = model.generate(**inputs, max_new_tokens=8, do_sample=False)
print(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))""",
}
NO_HUB_NAME = "BACKBONE_FOLDER"  # in a card, for a backbone that is not on the Hub


def origin_json(origin: Origin) -> str:
    """The origin as a file beside a peft adapter, without paths of this machine."""
    backbone = {**origin.backbone, "path": None}
    note = json.loads(next(iter(origin.as_note().values())))
    return json.dumps({**note, "backbone": backbone}, indent=1, sort_keys=True) + "\n"


def base_of(origin: Origin) -> str:
    """The backbone's name on the Hub; a placeholder for another."""
    name = str(origin.backbone["name"])
    return name if "/" in name else NO_HUB_NAME


def model_card(found: TrainedRun, to: str, lines: list[str], *, auto: str, model: Any) -> str:
    """The text of README.md; ``auto``: transformers' class that loads the backbone."""
    origin = found.origin
    task, base = origin.task_settings, str(origin.backbone["name"])
    name = task.sample or task.name
    kind = f"sample data of {name}" if task.kind == "sample" else name
    parts = [
        f"---\n{yaml.safe_dump(_front(origin, to, base, auto), sort_keys=False)}---",
        f"# {base}, tuned with {origin.method} on {kind}",
        f"Trained with krona (run `{origin.run_id}`); form `{to}`: {'; '.join(lines)}.",
        f"## Input and output\n\n{_input(origin, auto)}",
        f"## How to load it\n\n```python\n{_loading(origin, to, auto, model)}\n```",
        f"## Scores\n\n{_scores(found)}",
    ]
    if found.result is not None:
        parts.append(f"## Settings\n\n```yaml\n{yaml.safe_dump(_settings(found.result), sort_keys=True)}```")
    return "\n\n".join(parts) + "\n"


def _front(origin: Origin, to: str, base: str, auto: str) -> dict[str, Any]:
    task = origin.task_settings
    front: dict[str, Any] = {"library_name": "peft" if to == "peft" else "transformers" if to != "adapter" else "krona"}
    if "/" in base:
        front["base_model"] = base
    if "Classification" in auto:
        front["pipeline_tag"] = "text-classification"
    front["tags"] = ["krona", origin.method]
    if task.kind == "glue":
        front["datasets"] = ["nyu-mll/glue"]
    front["metrics"] = list(task.metrics)
    return front


def _input(origin: Origin, auto: str) -> str:
    task = origin.task_settings
    words = label_words(origin.task)
    text = _text(origin, {name: f"{{{name}}}" for name in task.columns})
    labels = ", ".join(f'"{target}" is {word}' for target, word in words.items()) or "a number of one decimal"
    columns = " and ".join(f"`{name}`" for name in task.columns)
    if "Classification" in auto:
        reads = f"It reads {columns} as {'a sentence' if len(task.columns) == 1 else 'a pair'}"
    else:
        reads = f"It reads {columns} as the text `{text}{' label:' if 'Causal' in auto else ''}`"
    writes = "The class" if "Classification" in auto else "It writes the answer"
    return f"{reads}, cut to {origin.max_source_length} tokens. {writes}: {labels}."


def _text(origin: Origin, row: Mapping[str, str]) -> str:
    """The text of a row for a model that reads text."""
    task = origin.task_settings
    return task.source(row, prefix=task.prefixed(origin.task_prefix))


def _loading(origin: Origin, to: str, auto: str, model: Any) -> str:
    task = origin.task_settings
    if has_pooled_head(model.config) and to in pooled_code.LOADING:
        return pooled_code.pooled_code(model, to, base=base_of(origin), columns=len(task.columns))
    (use,) = (code for word, code in USE.items() if word in auto)
    use = use.format(texts=", ".join('"…"' for _ in task.columns), text=_text(origin, dict.fromkeys(task.columns, "…")))
    labels = f", num_labels={len(task.labels or '1')}" if "Classification" in auto else ""
    row: Mapping[str, str] = dict.fromkeys(task.columns, "…")
    return LOADING[to].format(
        auto=auto, base=base_of(origin), row=json.dumps(row, ensure_ascii=False), labels=labels, use=use
    )  # fmt: skip


def _scores(found: TrainedRun) -> str:
    origin, task = found.origin, found.origin.task_settings
    rows = [
        f"| {split} | {', '.join(f'{name} {value:.2f}' for name, value in parts.items())} |"
        for split, parts in origin.scores.items()
    ]
    caveats = [f"On {DATA[task.kind]}, one seed ({origin.seed}); dev chose the epoch."]
    if found.result is not None:
        sizes = {split: found.result.splits.get(split, {}).get("rows") for split in ("train", "dev", "test")}
        said = [f"{split} {amount(count, 'row')}" for split, count in sizes.items() if count]
        caveats.append(f"Rows: {', '.join(said)}. Trained parameters: {_trained(found.result)}.")
        if not found.result.provenance.get("pretrained", True):
            caveats.append("The backbone has random weights.")
        caveats += [f"Note of the run: {note}." for note in found.result.notes]
        answers = encode_answers(found.result)
        caveats += [f"{one.text}." for one in remarks(found.result, answers, "test" if "test" in answers else "dev")]
    return "\n".join(["| split | scores |", "|---|---|", *rows, "", *(f"- {line}" for line in caveats)])


def _trained(result: Result) -> str:
    head = f" and a new head of {result.head_params:,}" if result.head_params else ""
    return f"{result.trainable_params:,} ({result.trainable_percent:.4g} % of the backbone){head}"


def _settings(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in SHOWN:
        value = result.config.get(key)
        found[key] = (
            {k: v for k, v in value.items() if k not in PRIVATE.get(key, ())} if isinstance(value, dict) else value
        )
    return found
