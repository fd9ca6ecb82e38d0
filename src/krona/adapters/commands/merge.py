"""`krona merge`: several trained adapters of one backbone as one file."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from krona.adapters.combining import Combined, combine
from krona.adapters.commands.inspect import MERGED
from krona.adapters.file import OtherBackboneError, load_adapter, read_header, save_adapter
from krona.adapters.find import ADAPTER, Found
from krona.adapters.load import branch_of
from krona.backbones.shared import shared_backbone
from krona.config.compose import compose_job, hydra_session
from krona.messages import KronaError
from krona.outputs.output_file import require_new

INTO = "sum"


def merge(
    found: Sequence[Found],
    out: Path,
    *,
    weights: Sequence[float] | None = None,
    rank: int | None = None,
    terms: int | None = None,
    task: str | None = None,
    backbone: str | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write the weighted sum of adapters' updates (`combine`) as a file; what was written, in words.

    Normalisations and a head become the backbone's plus the weighted sum of what each adapter changed of them; of a
    new head the backbone's is the one drawn by the first run's seed.

    Args:
        weights: one for each; None: all the same, 1 in sum.
        rank, terms: of the result, as in `combine`; None: exact.
        task: a file of conf/task that the file is to answer; None: the first run's.
        backbone: its folder, if it is not where the first run had it.

    Raises:
        KronaError: fewer than two, other backbones, updates that have no weighted sum, a file that exists.
    """
    shares = _checked(found, out, weights, overwrite=overwrite)
    origin = replace(found[0].origin, run_id=out.stem, scores={})
    if task is not None:
        with hydra_session():
            origin = replace(origin, task=compose_job([f"task={task}"]).config["task"])
    if backbone is not None:
        origin = replace(origin, backbone={**origin.backbone, "path": backbone})
    settings = origin.backbone_settings
    model: Any = shared_backbone(settings, origin.task_settings, seed=origin.seed, bf16=False).model
    names = _names(found)
    for name, one in zip(names, found, strict=True):
        assert one.adapter is not None
        try:
            load_adapter(model, one.adapter, name=name, branch=branch_of(one.adapter))
        except OtherBackboneError as error:
            raise KronaError(f"merge needs adapters of one backbone, {settings.name}: {error}") from error
    combined = combine(model, names, shares, into=INTO, rank=rank, terms=terms)
    runs = dict(zip((one.origin.run_id for one in found), shares, strict=True))
    save_adapter(model, out, name=INTO, notes=origin.as_note() | {MERGED: json.dumps(runs)})
    return _lines(found, shares, out, combined, origin.task_settings.name)


def weights_of(text: str | None) -> list[float] | None:
    """``0.5,0.5`` as numbers."""
    try:
        return None if text is None else [float(part) for part in text.split(",")]
    except ValueError as error:
        raise KronaError(f"--weights {text}: numbers with commas between them, such as 0.5,0.5") from error


def _checked(found: Sequence[Found], out: Path, weights: Sequence[float] | None, *, overwrite: bool) -> list[float]:
    if out.suffix != ".safetensors":
        raise KronaError(f"--out {out}: a .safetensors file, such as {out}/{ADAPTER}")
    require_new(out, overwrite=overwrite)
    if len(found) < 2:
        raise KronaError("merge takes two or more runs")
    for one in found:
        if one.adapter is None:
            raise KronaError(f"{one.origin.run_id} trained nothing: there is no adapter to merge")
    ids = [one.origin.run_id for one in found]
    if twice := [run_id for run_id in dict.fromkeys(ids) if ids.count(run_id) > 1]:
        raise KronaError(f"{twice[0]} is named twice: give it once, with the sum of its weights")
    if weights is not None and len(weights) != len(found):
        raise KronaError(f"--weights has {len(weights)} numbers for {len(found)} runs")
    first, *others = [read_header(one.adapter)[0]["backbone"] for one in found if one.adapter is not None]
    for one, its in zip(found[1:], others, strict=True):
        if its.get("pooling") != first.get("pooling"):
            raise KronaError(
                f"merge needs adapters of one backbone.pooling: {ids[0]} was trained with "
                f"{first.get('pooling') or 'null'}, {one.origin.run_id} with {its.get('pooling') or 'null'}."
            )
        if its["shapes"] != first["shapes"]:
            raise KronaError(
                f"merge needs adapters of one backbone: {ids[0]} is of {found[0].origin.backbone['name']}, "
                f"{first['parameters']:,} parameters, {one.origin.run_id} of {one.origin.backbone['name']}, "
                f"{its['parameters']:,}, or with other names or shapes"
            )
    return list(weights) if weights is not None else [1 / len(found)] * len(found)


def _names(found: Sequence[Found]) -> list[str]:
    """Names of the adapters in the model: the runs' ids, without what a module's name can't have."""
    plain = [re.sub(r"[^\w-]", "_", one.origin.run_id) for one in found]
    return plain if len(set(plain)) == len(plain) else [f"{number}-{name}" for number, name in enumerate(plain, 1)]


def _lines(found: Sequence[Found], shares: Sequence[float], out: Path, combined: Combined, task: str) -> list[str]:
    parts = " + ".join(f"{share:g} × {one.origin.run_id}" for share, one in zip(shares, found, strict=True))
    kind = "no branches" if combined.branch is None else combined.branch.__name__
    size = f", of {combined.size} terms or ranks" if combined.size else ""
    lines = [f"{out}: {parts}", f"{kind}{size}, answers task {task}"]
    if combined.errors:
        worst = max(combined.errors, key=lambda place: combined.errors[place])
        mean = sum(combined.errors.values()) / len(combined.errors)
        lines.append(
            "exact: the sum of all updates"
            if combined.errors[worst] == 0
            else f"relative error of the sum: {combined.error:.3g} in all, {mean:.3g} on average over "
            f"{len(combined.errors)} places, worst {combined.errors[worst]:.3g} at {worst}"
        )
    return [*lines, f"krona evaluate {out}"]
