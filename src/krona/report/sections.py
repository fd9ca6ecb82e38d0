"""Sections of a report: kind of data and backbone, and whether the paper's numbers belong beside the runs.

Runs of different sections are never compared.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from krona.messages import amount, first_few
from krona.paper import task_label
from krona.paths import choice_files
from krona.runs.provenance import Part, describe_part, differing_part, relative_difference
from krona.runs.result import Result

PARAMETERS = 222_903_552
SIZES = {
    "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12,
    "feed_forward_proj": "relu", "vocab_size": 32128,
}  # fmt: skip
PUBLISHED = ("google-t5/t5-base", "t5-base")  # the weights' names on the Hub
SPLIT = {"protocol": "table1", "seed": 42, "train_rows": None}
EARLIER = "in a result of an earlier version"
BACKBONE, DATA = "t5_base", "hub"  # of conf/config.yaml
KINDS = ("glue", "sample", "own")
MOST_DEPARTURES = 6  # named in a caution


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
    if part := differing_part(result):
        name, found, official = part
        yield f"{task}'s {name} has {amount(found, 'row')}, GLUE's {official:,}"
    elif result.status == "done" and not result.provenance.get("official_rows"):
        yield f"whether the rows are GLUE's was not recorded {EARLIER}"
    if skipped := max((split.get("skipped_rows") or 0 for split in result.splits.values()), default=0):
        yield f"{amount(skipped, 'row')} of {task} left out by data.skip_bad_rows"


def typed_words(backbone: Mapping[str, Any], data: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    """``backbone=local backbone.path=/t5``: the shipped choices, and each key in which the config differs from them."""
    name = _named().get(backbone["name"], "local" if backbone.get("path") else "hub")
    source = data.get("kind", DATA)
    demo = (kind, name) == ("sample", "nano")  # the profile chooses both
    words = ["profile=demo"] if demo else [f"backbone={name}"] if name != BACKBONE else []
    words += _differing("backbone", backbone, _shipped("backbone", name))
    words += [f"data={source}"] if source != DATA and not demo else []
    return (*words, *_differing("data", data, _shipped("data", source)))


def _differing(path: str, values: Mapping[str, Any], shipped: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted(values, key=lambda key: key != "path"):
        value, own = values[key], shipped.get(key)
        if isinstance(value, Mapping) and isinstance(own, Mapping):
            yield from _differing(f"{path}.{key}", value, own)
        elif value != own and not (own == "auto" and value is None):  # what auto came to
            yield f"{'' if key in shipped else '+'}{path}.{key}={_typed(value)}"


def _typed(value: Any) -> str:
    """A value as Hydra reads it."""
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_typed(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_typed, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


@cache
def _named() -> dict[str, str]:
    """The name that a backbone's YAML gives, and the YAML's own."""
    shipped = ((_shipped("backbone", stem).get("name"), stem) for stem in choice_files("backbone"))
    return {name: stem for name, stem in shipped if name is not None}


@cache
def _shipped(group: str, stem: str) -> dict[str, Any]:
    """A YAML of conf/ with what its defaults give; empty for one that is not there (any more)."""
    path = choice_files(group).get(stem)
    own = dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path is not None else {}
    content: dict[str, Any] = {}
    for part in (*(_shipped(group, name) for name in own.pop("defaults", []) if isinstance(name, str)), own):
        for key, value in part.items():
            below = content.get(key)
            content[key] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return content


@dataclass(frozen=True, order=True)
class Section:
    """Runs that may share a table. What is not compared is of one run, or of all of a table (`of_table`)."""

    kind: str  # glue | sample | own
    backbone: str
    pretrained: bool
    protocol: str
    whole: bool = True  # false: data in GLUE's form with other rows than GLUE
    overrides: tuple[str, ...] = field(default=(), compare=False)  # that choose this data and backbone
    odd: Part | None = field(default=None, compare=False)  # the part furthest from GLUE's rows
    departures: tuple[str, ...] = field(default=(), compare=False)  # from the paper's setting
    departing: tuple[int, int] = field(default=(0, 1), compare=False)  # so many runs, of so many

    @property
    def heading(self) -> str:
        weights = "" if self.pretrained else ", random weights"
        name = {"glue": "GLUE", "sample": "Sample data", "own": "Own data"}[self.kind]
        name = f"{describe_part(self.odd)}," if self.odd else name
        protocol = f", protocol {self.protocol}" if self.kind == "glue" and self.protocol != "table1" else ""
        return f"{name} on {self.backbone}{weights}{protocol}"

    @property
    def caution(self) -> str | None:
        """What these numbers are not."""
        if self.kind == "sample":
            return "Generated sentences, not GLUE: the rows compare with one another, not with the paper."
        if not self.pretrained:
            return "Random weights: what is compared here is code, not methods."
        if self.kind != "glue" or not self.departures:
            return None
        some, of = self.departing
        who = f"{amount(some, 'run')} of {of} not compared" if self.comparable else "Not compared"
        return f"{who} with the paper: {'; '.join(first_few(list(self.departures), MOST_DEPARTURES))}."

    @property
    def comparable(self) -> bool:
        """Whether the paper's numbers belong beside these, or beside some of them."""
        return self.kind == "glue" and self.pretrained and self.departing[0] < self.departing[1]

    @property
    def order(self) -> tuple[Any, ...]:
        shipped = (not self.comparable, not self.pretrained, not self.whole, self.backbone, self.protocol)
        return (KINDS.index(self.kind), *shipped)


def section_of(result: Result) -> Section:
    """The section of one run."""
    config, provenance = result.config, result.provenance
    task, backbone = config["task"], config["backbone"]
    kind = provenance.get("data_kind") or ("own" if task.get("files") else "sample" if task.get("sample") else "glue")
    if kind not in KINDS:
        raise ValueError(f"data_kind {kind!r} is none of {', '.join(KINDS)}")
    pretrained = provenance.get("pretrained", backbone.get("pretrained", True))
    local = backbone["name"] == "local" and backbone.get("path")
    name = Path(str(backbone["path"])).name if local else str(backbone["name"])
    data = config.get("data", {})
    part = differing_part(result) if kind == "glue" else None
    named = part and (f"{task_label(result.task)}'s {part[0]}", *part[1:])
    found = departures(result) if kind == "glue" else ()
    return Section(
        kind, name, bool(pretrained), str(data.get("protocol", "table1")), part is None,
        typed_words(backbone, data, kind), named, found, (int(bool(found)), 1),
    )  # fmt: skip


def of_table(sections: Sequence[Section]) -> Section:
    """One section of equal ones, a run each: the words that all have, the oddest part, all departures."""
    words = [word for word in sections[0].overrides if all(word in one.overrides for one in sections)]
    found = tuple(dict.fromkeys(reason for one in sections for reason in one.departures))
    odd = max((one.odd for one in sections if one.odd), key=relative_difference, default=None)
    departing = (sum(one.departing[0] for one in sections), sum(one.departing[1] for one in sections))
    return replace(sections[0], overrides=tuple(words), odd=odd, departures=found, departing=departing)
