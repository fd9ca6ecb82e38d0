"""The paper's setting, T5-base on GLUE in Table 1's split, and where a run departs from it."""

from collections.abc import Iterator, Mapping
from typing import Any

from krona.messages import amount
from krona.outputs.official_rows import odd_part
from krona.outputs.result import Result
from krona.paper import task_label

PARAMETERS = 222_903_552
SIZES = {
    "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12,
    "feed_forward_proj": "relu", "vocab_size": 32128,
}  # fmt: skip
PUBLISHED = ("google-t5/t5-base", "t5-base")  # the weights' names on the Hub
SPLIT = {"protocol": "table1", "seed": 42, "train_rows": None}
EARLIER = "in a result of an earlier version"


def departures(result: Result) -> tuple[str, ...]:
    """Why a run on GLUE does not compare with the paper's numbers; empty where it does.

    A run that has not finished is taken for what its config says.
    """
    return (*_of_backbone(result), *_of_split(result), *_of_rows(result))


def _of_backbone(result: Result) -> Iterator[str]:
    config: Mapping[str, Any] = result.config["backbone"]
    facts: Mapping[str, Any] | None = result.provenance.get("backbone")
    published = not config.get("path") and config["name"] in PUBLISHED
    if facts is None:
        if not published:
            yield f"the backbone's size is not known{f' {EARLIER}' if result.status == 'done' else ''}"
        return
    if facts["architecture"] != "t5":
        yield f"the backbone is of the architecture {facts['architecture']}, the paper's is a T5"
    elif facts["parameters"] != PARAMETERS:
        yield f"the backbone has {facts['parameters']:,} parameters, T5-base {PARAMETERS:,}"
    elif odd := {key: size for key, size in SIZES.items() if facts["sizes"].get(key, size) != size}:
        sizes = [f"{key} {facts['sizes'][key]} and T5-base {size}" for key, size in odd.items()]
        yield f"the backbone has {', '.join(sizes)}"
    elif not published and not config.get("path"):
        yield f"the weights are those of {config['name']}, the paper's of {PUBLISHED[0]}"


def _of_split(result: Result) -> Iterator[str]:
    data = result.config.get("data", {})
    for key, own in SPLIT.items():
        if (value := data.get(key, own)) != own:
            yield f"data.{key}={value}, the paper's protocol is {'all rows' if own is None else own}"


def _of_rows(result: Result) -> Iterator[str]:
    task = task_label(result.task)
    if part := odd_part(result):
        name, found, official = part
        yield f"{task}'s {name} has {amount(found, 'row')}, GLUE's {official:,}"
    elif result.status == "done" and not result.provenance.get("official_rows"):
        yield f"whether the rows are GLUE's was not recorded {EARLIER}"
    if skipped := max((split.get("skipped_rows") or 0 for split in result.splits.values()), default=0):
        yield f"{amount(skipped, 'row')} of {task} left out by data.skip_bad_rows"
