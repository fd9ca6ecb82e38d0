"""Sections of a report: kind of data and backbone. Runs of different sections are never compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from krona.messages import amount, first_few
from krona.outputs.official_rows import Part, distance, glue_form, odd_part
from krona.outputs.result import Result
from krona.paper import task_label
from krona.report.paper_setting import departures
from krona.report.typed import typed_words

KINDS = ("glue", "sample", "own")
MOST_DEPARTURES = 6  # named in a caution


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
        name = f"{glue_form(self.odd)}," if self.odd else name
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
    part = odd_part(result) if kind == "glue" else None
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
    odd = max((one.odd for one in sections if one.odd), key=distance, default=None)
    departing = (sum(one.departing[0] for one in sections), sum(one.departing[1] for one in sections))
    return replace(sections[0], overrides=tuple(words), odd=odd, departures=found, departing=departing)
