"""The sections of a report: groups of runs with the same kind of data and the same backbone.

Runs of different sections are never compared.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from krona.display_names import BENCHMARKS, KINDS, task_label
from krona.messages import first_few, join_names, plural, shorten
from krona.runs.description import describe_split, differing_split, find_data_kind, relative_difference
from krona.runs.protocol import list_departures
from krona.runs.result import Result

SECTION = ("section", "odd_split", "departures", "comparable")  # columns of the frame of runs
MAX_DEPARTURES = 6  # maximum number of differences from the paper in a warning


@dataclass(frozen=True)
class Section:
    """The properties that runs in the same table have in common."""

    kind: str  # the kind of the data, a key of `krona.display_names.KINDS`
    backbone: str
    pretrained: bool
    protocol: str
    complete: bool  # false if the data have the benchmark's format but other rows

    def heading(self, runs: pd.DataFrame) -> str:
        """Return the data and the backbone. Data with other rows are described by the split that differs most."""
        odd = max((split for split in runs.odd_split if split), key=relative_difference, default=None)
        weights = "" if self.pretrained else ", random weights"
        name = f"{describe_split(odd, self.kind)}," if odd else KINDS[self.kind]
        name = name[:1].upper() + name[1:]
        protocol = f", protocol {self.protocol}" if self.kind in BENCHMARKS and self.protocol != "table1" else ""
        return f"{name} on {shorten(self.backbone)}{weights}{protocol}"

    def warning(self, runs: pd.DataFrame) -> str | None:
        """Return a warning against misuse of the numbers, or None if no warning is needed."""
        if self.kind == "sample":
            return "These are generated sentences, not GLUE. Compare the rows with one another, not with the paper."
        if not self.pretrained:
            return "The backbone has random weights. Use these numbers to test the code, not to compare methods."
        by_rest: dict[str, dict[str, None]] = {}  # maps the text after the comma to the texts before it
        for departure in (departure for found in runs.departures for departure in found):
            first, comma, rest = departure.partition(", ")
            by_rest.setdefault(comma + rest, {})[first] = None
        if not by_rest:
            return None
        some = int((~runs.comparable).sum())
        who = f"{plural(some, 'run')} of {len(runs)} cannot be compared" if some < len(runs) else "Not compared"
        reasons = [*by_rest.pop("", ()), *(join_names([*found]) + rest for rest, found in by_rest.items())]
        return f"{who} with the paper: {'; '.join(first_few(reasons, MAX_DEPARTURES))}."

    def order(self, runs: pd.DataFrame) -> tuple[Any, ...]:
        """Return a sort key: GLUE first, and runs that are comparable with the paper before others."""
        shipped = (not runs.comparable.any(), not self.pretrained, not self.complete, self.backbone, self.protocol)
        return ([*KINDS].index(self.kind), *shipped)


def describe_data(result: Result) -> dict[str, Any]:
    """Return the values of the columns `SECTION` for one run.

    ``odd_split`` is the split whose number of rows differs most from the official one, or None. ``departures`` are the
    differences from the paper's setting. A run without departures on GLUE is ``comparable`` with the paper.
    """
    config, provenance = result.config, result.provenance
    backbone, kind = config["backbone"], find_data_kind(result)
    if kind not in KINDS:
        raise ValueError(f"data_kind {kind!r} is not one of {', '.join(KINDS)}")
    pretrained = bool(provenance.get("pretrained", backbone.get("pretrained", True)))
    local = backbone["name"] == "local" and backbone.get("path")
    name = Path(str(backbone["path"])).name if local else str(backbone["name"])
    part = differing_split(result) if kind in BENCHMARKS else None
    named = part and (f"{task_label(result.task)}'s {part[0]}", *part[1:])
    departures: tuple[str, ...] = ()
    if kind == "glue":
        departures = tuple(list_departures(result) if result.departures is None else result.departures)
    protocol = str(config.get("data", {}).get("protocol", "table1"))
    section = Section(kind, name, pretrained, protocol, part is None)
    comparable = kind == "glue" and pretrained and not departures
    return dict(zip(SECTION, (section, named, departures, comparable), strict=True))
