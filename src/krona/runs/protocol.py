"""Compare a run with the paper's protocol."""

from collections.abc import Iterator, Mapping
from typing import Any

from krona.display_names import task_label
from krona.messages import plural, shorten
from krona.runs.description import differing_split
from krona.runs.result import Result

T5_BASE_PARAMETERS = 222_903_552
T5_BASE_SIZES = {
    "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12,
    "feed_forward_proj": "relu", "vocab_size": 32128,
}  # fmt: skip
T5_BASE_NAMES = ("google-t5/t5-base", "t5-base")  # names of the weights on the Hub
DATA_SETTINGS = {
    "protocol": "table1", "seed": 42, "train_rows": None, "dev_from_train": None, "test_from_train": None,
}  # fmt: skip


def record_departures(result: Result) -> None:
    """Store in the result of a run on GLUE why the run is not comparable with the paper (`list_departures`)."""
    if result.data_kind == "glue":
        result.departures = [*list_departures(result)]


def list_departures(result: Result) -> Iterator[str]:
    """Yield the reasons why a run on GLUE is not comparable with the paper.

    If an unfinished run has not recorded the size of its backbone yet, only the backbone's name is checked.
    """
    yield from _backbone_departures(result)
    data, task = result.config.get("data", {}), task_label(result.task)
    for key, expected in DATA_SETTINGS.items():
        if (value := data.get(key, expected)) != expected:
            usual = "all rows" if key == "train_rows" else expected or "none"
            yield f"data.{key}={value}, and the paper's protocol uses {usual}"
    if weights := result.config["task"].get("class_weights"):
        yield f"task.class_weights={weights}, and the paper's loss has no weights"
    if split := differing_split(result):
        name, num_rows, official = split
        yield f"{task}'s {name} has {plural(num_rows, 'row')}, and GLUE's has {official:,}"
    if skipped := max((split.get("skipped_rows") or 0 for split in result.splits.values()), default=0):
        yield f"data.skip_bad_rows left out {plural(skipped, 'row')} of {task}"


def _backbone_departures(result: Result) -> Iterator[str]:
    config: Mapping[str, Any] = result.config["backbone"]
    measured: Mapping[str, Any] | None = result.provenance.get("backbone")
    published = not config.get("path") and config["name"] in T5_BASE_NAMES
    if measured is None:
        if not published:
            yield "the backbone's size is not known"
    elif measured["architecture"] != "t5":
        yield f"the backbone has the architecture {measured['architecture']}, and the paper's backbone is a T5"
    elif measured["parameters"] != T5_BASE_PARAMETERS:
        yield f"the backbone has {measured['parameters']:,} parameters, and T5-base has {T5_BASE_PARAMETERS:,}"
    elif differing := {key: size for key, size in T5_BASE_SIZES.items() if measured["sizes"].get(key, size) != size}:
        sizes = [f"{key} {measured['sizes'][key]} and T5-base {size}" for key, size in differing.items()]
        yield f"the backbone has {', '.join(sizes)}"
    elif not published and not config.get("path"):
        yield f"the weights are those of {shorten(config['name'])}, and the paper used {T5_BASE_NAMES[0]}"
