"""Sections of a report: kind of data and backbone. Runs of different sections are never compared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from krona.outputs.result import Result
from krona.paths import CONF

KINDS = ("glue", "sample", "own")


@dataclass(frozen=True, order=True)
class Section:
    """Runs that may share a table."""

    kind: str  # glue | sample | own
    backbone: str
    pretrained: bool
    protocol: str
    overrides: tuple[str, ...] = field(default=(), compare=False)  # that choose this data and backbone

    @property
    def heading(self) -> str:
        weights = "" if self.pretrained else ", random weights"
        name = {"glue": "GLUE", "sample": "Sample data", "own": "Own data"}[self.kind]
        protocol = f", protocol {self.protocol}" if self.kind == "glue" and self.protocol != "table1" else ""
        return f"{name} on {self.backbone}{weights}{protocol}"

    @property
    def caution(self) -> str | None:
        """What these numbers are not."""
        if self.kind == "sample":
            return "Generated sentences, not GLUE: the rows compare with one another, not with the paper."
        if not self.pretrained:
            return "Random weights: what is compared here is code, not methods."
        if self.kind == "glue" and not self.comparable:
            return "Not the paper's backbone or split: its numbers are for T5-base, so no differences are shown."
        return None

    @property
    def comparable(self) -> bool:
        """Whether the paper's numbers belong beside these."""
        return self.kind == "glue" and self.pretrained and (self.backbone, self.protocol) == ("t5_base", "table1")

    @property
    def order(self) -> tuple[Any, ...]:
        return (KINDS.index(self.kind), not self.comparable, not self.pretrained, self.backbone, self.protocol)


def section_of(result: Result) -> Section:
    config, provenance = result.config, result.provenance
    task, backbone = config["task"], config["backbone"]
    kind = provenance.get("data_kind") or ("own" if task.get("files") else "sample" if task.get("sample") else "glue")
    if kind not in KINDS:
        raise ValueError(f"data_kind {kind!r} is none of {', '.join(KINDS)}")
    pretrained = provenance.get("pretrained", backbone.get("pretrained", True))
    local = backbone["name"] == "local" and backbone.get("path")
    name = Path(str(backbone["path"])).name if local else str(backbone["name"])
    data = config.get("data", {})
    return Section(kind, name, bool(pretrained), str(data.get("protocol", "table1")), _overrides(backbone, data, kind))


def _overrides(backbone: Mapping[str, Any], data: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    if (kind, backbone["name"]) == ("sample", "nano"):
        return ("profile=demo",)
    words = []
    if backbone.get("path"):
        shipped = (CONF / "backbone" / f"{backbone['name']}.yaml").is_file()
        words += [f"backbone={backbone['name'] if shipped else 'local'}", f"backbone.path={backbone['path']}"]
        words += [] if shipped else [f"backbone.name={backbone['name']}"]
    elif "/" in str(backbone["name"]):
        words += ["backbone=hub", f"backbone.name={backbone['name']}"]
    elif backbone["name"] != "t5_base":
        words.append(f"backbone={backbone['name']}")
    if data.get("kind") == "tsv":
        words += ["data=tsv", f"data.path={data.get('path')}"]
    elif kind == "sample":
        words.append("data=sample")
    return (*words, *([f"data.protocol={data['protocol']}"] if data.get("protocol", "table1") != "table1" else []))
