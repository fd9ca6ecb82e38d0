"""The sections of a report: groups of runs with the same kind of data and the same backbone.

Runs of different sections are never compared. A section also records whether its runs are comparable with the paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from krona.labels import BENCHMARKS, KINDS, task_label
from krona.messages import amount, first_few, join_names, shorten
from krona.runs.protocol import list_departures
from krona.runs.provenance import Part, describe_part, differing_part, find_data_kind, relative_difference
from krona.runs.result import Result

MAX_DEPARTURES = 6  # maximum number of differences from the paper in a warning


@dataclass(frozen=True)
class Section:
    """A section of a report. Two runs can be in the same table if their sections are equal.

    The last three fields describe a single run or, after `merge_sections`, several runs. Two sections that differ only
    in these fields are equal.
    """

    kind: str  # the kind of the data, a key of `krona.labels.KINDS`
    backbone: str
    pretrained: bool
    protocol: str
    whole: bool = True  # false if the data have the benchmark's format but other rows
    odd: Part | None = field(default=None, compare=False)  # the part whose row count differs most from the official one
    departures: tuple[str, ...] = field(default=(), compare=False)  # differences from the paper's setting
    # The number of runs that differ from the paper's setting, and the total number of runs.
    departing: tuple[int, int] = field(default=(0, 1), compare=False)

    @property
    def heading(self) -> str:
        weights = "" if self.pretrained else ", random weights"
        name = f"{describe_part(self.odd, self.kind)}," if self.odd else KINDS[self.kind]
        name = name[:1].upper() + name[1:]
        protocol = f", protocol {self.protocol}" if self.kind in BENCHMARKS and self.protocol != "table1" else ""
        return f"{name} on {shorten(self.backbone)}{weights}{protocol}"

    @property
    def warning(self) -> str | None:
        """A warning against misuse of the numbers, or None if no warning is needed."""
        if self.kind == "sample":
            return "These are generated sentences, not GLUE. Compare the rows with one another, not with the paper."
        if not self.pretrained:
            return "The backbone has random weights. Use these numbers to test the code, not to compare methods."
        if self.kind != "glue" or not self.departures:
            return None
        some, of = self.departing
        who = f"{amount(some, 'run')} of {of} cannot be compared" if self.comparable else "Not compared"
        by_rest: dict[str, list[str]] = {}  # maps the text after the comma to the texts before it
        for departure in self.departures:
            first, comma, rest = departure.partition(", ")
            by_rest.setdefault(comma + rest, []).append(first)
        reasons = by_rest.pop("", []) + [join_names(found) + rest for rest, found in by_rest.items()]
        return f"{who} with the paper: {'; '.join(first_few(reasons, MAX_DEPARTURES))}."

    @property
    def comparable(self) -> bool:
        """True if some runs of the section are comparable with the paper's numbers."""
        return self.kind == "glue" and self.pretrained and self.departing[0] < self.departing[1]

    @property
    def order(self) -> tuple[Any, ...]:
        shipped = (not self.comparable, not self.pretrained, not self.whole, self.backbone, self.protocol)
        return ([*KINDS].index(self.kind), *shipped)


def find_section(result: Result) -> Section:
    """Return the section of one run."""
    config, provenance = result.config, result.provenance
    backbone, kind = config["backbone"], find_data_kind(result)
    if kind not in KINDS:
        raise ValueError(f"data_kind {kind!r} is not one of {', '.join(KINDS)}")
    pretrained = provenance.get("pretrained", backbone.get("pretrained", True))
    local = backbone["name"] == "local" and backbone.get("path")
    name = Path(str(backbone["path"])).name if local else str(backbone["name"])
    data = config.get("data", {})
    part = differing_part(result) if kind in BENCHMARKS else None
    named = part and (f"{task_label(result.task)}'s {part[0]}", *part[1:])
    found = () if kind != "glue" else tuple(list_departures(result) if result.departures is None else result.departures)
    return Section(
        kind, name, bool(pretrained), str(data.get("protocol", "table1")), part is None, named, found,
        (int(bool(found)), 1),
    )  # fmt: skip


def merge_sections(sections: Sequence[Section]) -> Section:
    """Merge equal sections into one.

    The merged section has the ``departures`` of all sections, and the ``odd`` part that differs most from GLUE.
    """
    found = tuple(dict.fromkeys(reason for one in sections for reason in one.departures))
    odd = max((one.odd for one in sections if one.odd), key=relative_difference, default=None)
    departing = (sum(one.departing[0] for one in sections), sum(one.departing[1] for one in sections))
    return replace(sections[0], odd=odd, departures=found, departing=departing)
