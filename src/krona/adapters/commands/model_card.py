"""Write the model card of an export. It describes the task, the code that loads the export, and the scores."""

import json
from typing import Any

import yaml

from krona.adapters.commands.loading_code import loading_code
from krona.adapters.find import TrainedRun
from krona.adapters.origin import Origin
from krona.messages import amount
from krona.runs.constant_predictions import remarks
from krona.runs.predictions import encode_answers, label_words
from krona.runs.result import Result

ORIGIN = "krona.json"  # a file in an exported peft folder that contains the origin, for `krona import`
DATA = {
    "glue": "GLUE's rows",
    "sample": "sample data that krona generates, which are not GLUE's rows",
    "own": "own data",
}
SOURCE = ("kind", "name", "revision", "protocol")  # keys of the section data that only GLUE's tasks use
SETTINGS = ("method", "optimizer", "trainer", "data", "batch_size", "max_source_length", "seed")


def origin_json(origin: Origin) -> str:
    """Return the content of krona.json: the origin of the adapter as JSON, without paths of this machine."""
    note = json.loads(next(iter(origin.as_note().values())))
    return json.dumps({**note, "backbone": {**origin.backbone, "path": None}}, indent=1, sort_keys=True) + "\n"


def model_card(run: TrainedRun, form: str, lines: list[str], *, auto: str, model: Any) -> str:
    """Return the text of README.md.

    Args:
        form: the form of the export (``merged``, ``peft`` or ``adapter``).
        lines: lines that describe the exported files.
        auto: the name of the Auto class of transformers for the backbone.
        model: the model that is exported.
    """
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
    labels = ", ".join(f'"{target}" is {word}' for target, word in words.items()) or "a number with one decimal place"
    if "Classification" in auto:
        reads, writes = "a sentence" if len(names) == 1 else "a pair", "The class"
    else:
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
