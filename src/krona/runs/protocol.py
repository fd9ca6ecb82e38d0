"""Compare a run with the paper's protocol."""

from collections.abc import Iterator, Mapping
from typing import Any

from krona.display_names import task_label
from krona.messages import plural, shorten
from krona.runs.description import differing_split
from krona.runs.result import Result

PARAMETERS = 222_903_552
SIZES = {
    "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12,
    "feed_forward_proj": "relu", "vocab_size": 32128,
}  # fmt: skip
PUBLISHED = ("google-t5/t5-base", "t5-base")  # names of the weights on the Hub
SPLIT = {"protocol": "table1", "seed": 42, "train_rows": None, "dev_from_train": None, "test_from_train": None}


def list_departures(result: Result) -> Iterator[str]:
    """Yield the reasons why a run on GLUE is not comparable with the paper.

    If an unfinished run has not recorded the size of its backbone yet, only the backbone's name is checked.
    """
    yield from _backbone_departures(result)
    data, task = result.config.get("data", {}), task_label(result.task)
    for key, own in SPLIT.items():
        if (value := data.get(key, own)) != own:
            usual = "all rows" if key == "train_rows" else own or "none"
            yield f"data.{key}={value}, and the paper's protocol uses {usual}"
    if weights := result.config["task"].get("class_weights"):
        yield f"task.class_weights={weights}, and the paper's loss has no weights"
    if part := differing_split(result):
        name, found, official = part
        yield f"{task}'s {name} has {plural(found, 'row')}, and GLUE's has {official:,}"
    if skipped := max((split.get("skipped_rows") or 0 for split in result.splits.values()), default=0):
        yield f"data.skip_bad_rows left out {plural(skipped, 'row')} of {task}"


def _backbone_departures(result: Result) -> Iterator[str]:
    config: Mapping[str, Any] = result.config["backbone"]
    facts: Mapping[str, Any] | None = result.provenance.get("backbone")
    published = not config.get("path") and config["name"] in PUBLISHED
    if facts is None:
        if not published:
            yield "the backbone's size is not known"
    elif facts["architecture"] != "t5":
        yield f"the backbone has the architecture {facts['architecture']}, and the paper's backbone is a T5"
    elif facts["parameters"] != PARAMETERS:
        yield f"the backbone has {facts['parameters']:,} parameters, and T5-base has {PARAMETERS:,}"
    elif odd := {key: size for key, size in SIZES.items() if facts["sizes"].get(key, size) != size}:
        sizes = [f"{key} {facts['sizes'][key]} and T5-base {size}" for key, size in odd.items()]
        yield f"the backbone has {', '.join(sizes)}"
    elif not published and not config.get("path"):
        yield f"the weights are those of {shorten(config['name'])}, and the paper used {PUBLISHED[0]}"
