"""The sections of a report: groups of runs with the same kind of data and the same backbone.

Runs of different sections are never compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from krona.display_names import BENCHMARKS, KINDS, task_label
from krona.messages import first_few, plural, shorten
from krona.runs.description import OfficialSplit, describe_split, differing_split, relative_difference
from krona.runs.result import Result

MAX_DEPARTURES = 6  # maximum number of differences from the paper in a warning


@dataclass(frozen=True)
class Section:
    """The properties that runs in the same table have in common."""

    kind: str  # the kind of the data, a key of `krona.display_names.KINDS`
    backbone: str
    pretrained: bool
    protocol: str
    complete: bool  # false if the data have the benchmark's format but other rows

    def heading(self, runs: "Sequence[SectionedRun]") -> str:
        """Return the data and the backbone. Data with other rows are described by the split that differs most."""
        split = max((split for run in runs if (split := run.differing_split)), key=relative_difference, default=None)
        weights = "" if self.pretrained else ", random weights"
        name = f"{describe_split(split, self.kind)}," if split else KINDS[self.kind]
        name = name[:1].upper() + name[1:]
        protocol = f", protocol {self.protocol}" if self.kind in BENCHMARKS and self.protocol != "table1" else ""
        return f"{name} on {shorten(self.backbone)}{weights}{protocol}"

    def warning(self, runs: "Sequence[SectionedRun]") -> str | None:
        """Return a warning against misuse of the numbers, or None if no warning is needed."""
        if self.kind == "sample":
            return "These are generated sentences, not GLUE. Compare the rows with one another, not with the paper."
        if not self.pretrained:
            return "The backbone has random weights. Use these numbers to test the code, not to compare methods."
        reasons = [*dict.fromkeys(reason for run in runs for reason in run.departures)]
        if not reasons:
            return None
        count = sum(not run.comparable for run in runs)
        subject = f"{plural(count, 'run')} of {len(runs)} cannot be compared" if count < len(runs) else "Not compared"
        return f"{subject} with the paper: {'; '.join(first_few(reasons, MAX_DEPARTURES))}."

    def order(self, runs: "Sequence[SectionedRun]") -> tuple[Any, ...]:
        """Return a sort key: GLUE first, and runs that are comparable with the paper before others."""
        comparable = any(run.comparable for run in runs)
        shipped = (not comparable, not self.pretrained, not self.complete, self.backbone, self.protocol)
        return ([*KINDS].index(self.kind), *shipped)


@dataclass(frozen=True, eq=False, kw_only=True)
class SectionedRun:
    """The section of a run, and what distinguishes its data from the paper's."""

    section: Section
    differing_split: OfficialSplit | None  # the split whose number of rows differs most from the official one
    departures: tuple[str, ...]  # the differences from the paper's setting
    comparable: bool  # whether the run is on GLUE without departures


def find_section(result: Result) -> SectionedRun:
    """Return the section of a run, and the differences of its data from the paper's."""
    config, provenance = result.config, result.provenance
    backbone, kind = config["backbone"], result.data_kind
    pretrained = bool(provenance.get("pretrained", backbone.get("pretrained", True)))
    local = backbone["name"] == "local" and backbone.get("path")
    name = Path(str(backbone["path"])).name if local else str(backbone["name"])
    split = differing_split(result) if kind in BENCHMARKS else None
    named_split = split and (f"{task_label(result.task)}'s {split[0]}", *split[1:])
    departures = tuple(result.departures or ())
    protocol = str(config.get("data", {}).get("protocol", "table1"))
    section = Section(kind, name, pretrained, protocol, split is None)
    return SectionedRun(
        section=section,
        differing_split=named_split,
        departures=departures,
        comparable=kind == "glue" and pretrained and not departures,
    )
