"""An inspection as text, as a table and as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from krona.adapters.adapter import AdapterConfig
from krona.adapters.commands import directions
from krona.adapters.commands.inspect import Inspection, PlaceUpdate
from krona.adapters.measure import mean
from krona.adapters.update import Spectrum
from krona.messages import amount
from krona.runs.forgetting import format_forgetting
from krona.screen import say, table, width_of

BARS = "▁▂▃▄▅▆▇"
SPARK, DECADES = 10, 3  # characters of a sparkline, and its height
RANKS = ("effective_rank", "stable_rank")
Directions = Mapping[str, directions.Directions]


def show(one: Inspection, console: Console, *, every: bool, within: Directions | None = None) -> None:
    """Print an inspection.

    Args:
        every: a row for each place; False: one for places of the same kind and shape.
        within: the directions of the updates within the backbone's weights.
    """
    for line in lines(one):
        say(console, line)
    if one.places:
        say(console, "")
        rows = _rows(one.places, every=every)
        heads = [head for head in rows[0] if any(row[head] for row in rows) or head != "drift"]  # drift: not measured
        cells = [[row[head] for head in heads] for row in rows]
        say(console, table(heads, cells, width=width_of(console), left=("place", "tensors", "σ")))
        if any(place.spectrum for place in one.places):
            say(
                console, f"σ: singular values by their index; {BARS[-1]} is the largest, {BARS[0]} a thousandth or less"
            )
    if within:
        say(console, "")
        say(console, table(*directions.rows(within, every=every), width=width_of(console), left=("place",)))
        say(console, directions.EXPLAINED)
    for note in one.notes:
        say(console, f"note: {note}")


def lines(one: Inspection) -> list[str]:
    """Return all but the places."""
    title, found = str(one.file), list[tuple[str, str]]()
    if one.origin is not None:
        title = f"{one.origin.run_id}: {one.origin.method} on {one.origin.task_settings.name}, seed {one.origin.seed}"
    if one.adapter is not None and one.file is not None:
        dtypes = ", ".join(_dtypes(one)) or "empty"
        size = f"{one.file.stat().st_size:,} bytes"
        found.append(("file", f"{one.file}, format {one.adapter.config.format}, {size}, {dtypes}"))
    found.append(("merged of", ", ".join(f"{weight:g} × {run}" for run, weight in one.merged.items())))
    names = [] if one.origin is None else [str(one.origin.backbone["path"] or one.origin.backbone["name"])]
    if one.adapter is not None and (mark := one.adapter.config.backbone) is not None:
        names.append(
            f"{mark.parameters:,} parameters, fingerprint {mark.shapes} (names and shapes) "
            f"{(mark.marks or {}).get('float32', mark.frozen)} (frozen weights)"
        )
    found.append(("backbone", ", ".join(names)))
    if one.adapter is not None:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in one.parameters.items())
        found.append(("method", _method(one.adapter.config)))
        found.append(("trained", f"{amount(sum(one.parameters.values()), 'parameter')}: {kinds}"))
    found.append(("update", _update(one)))
    drift = means(one.places)["mean_drift"]
    if drift is not None:
        largest = max(one.places, key=lambda place: place.drift or 0.0)
        text = f"mean {_number(drift)}, largest {_number(largest.drift)} at {largest.name} (share of the output)"
        found.append(("drift", text))
    if one.origin is not None:
        found.append(("scores", "; ".join(f"{split} {_parts(parts)}" for split, parts in one.origin.scores.items())))
    found.append(("forgetting", format_forgetting(one.forgetting) if one.forgetting else ""))
    found.append(("places", f"not known: {one.missing}" if one.missing else ""))
    return [title, *(f"{name:<10} {text}" for name, text in found if text)]


def as_json(one: Inspection, within: Directions | None = None) -> str:
    """Return the same as JSON. Singular values have six digits; numbers that an update does not have are null."""
    adapter = one.adapter
    content = {
        "origin": None if one.origin is None else asdict(one.origin),
        "file": None if one.file is None else str(one.file),
        "bytes": 0 if one.file is None else one.file.stat().st_size,
        "dtypes": _dtypes(one),
        "header": {} if adapter is None else adapter.config.model_dump(exclude={"notes"}, exclude_unset=True),
        "merged": one.merged,
        "parameters": {"all": sum(one.parameters.values()), **one.parameters},
        "update": means(one.places),
        "tensors": {} if adapter is None else {name: tensor.shape for name, tensor in adapter.tensors.items()},
        "places": [_place(place) for place in one.places],
        "forgetting": one.forgetting,
        "directions": None if within is None else {name: asdict(found) for name, found in within.items()},
        "notes": one.notes,
        "missing": one.missing,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, default=dict)


def means(places: Sequence[PlaceUpdate]) -> dict[str, float | int | None]:
    """Return the norm of the whole update, and means over the places that have a spectrum."""
    spectra = [place.spectrum for place in places if place.spectrum is not None]
    return {
        "places": len(places),
        "norm": sum(one.norm**2 for one in spectra) ** 0.5 if spectra else None,
        "mean_norm": mean(one.norm for one in spectra),
        "mean_effective_rank": mean(one.effective_rank for one in spectra),
        "mean_stable_rank": mean(one.stable_rank for one in spectra),
        "mean_drift": mean(place.drift for place in places),
    }


def sparkline(spectra: Sequence[Spectrum]) -> str:
    """Return the mean of log σ/σ₁, at least -3, at up to ten indices from first to last; empty where all are 0."""
    curves = [one.values / one.values[0] for one in spectra if len(one.values) and one.values[0] > 0]
    if not curves:
        return ""
    length = min(len(curve) for curve in curves)
    count = min(length, SPARK)
    at = [round(i * (length - 1) / max(1, count - 1)) for i in range(count)]
    logs = [sum(math.log10(max(float(curve[i]), 10.0**-DECADES)) for curve in curves) / len(curves) for i in at]
    return "".join(BARS[round((1 + log / DECADES) * (len(BARS) - 1))] for log in logs)


def _dtypes(one: Inspection) -> list[str]:
    tensors = [] if one.adapter is None else one.adapter.tensors.values()
    return sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors})


def _place(place: PlaceUpdate) -> dict[str, Any]:
    found = place.spectrum
    return {
        "place": place.name,
        "kind": place.kind,
        "layer": place.layer,
        "d_in": place.widths[0],
        "d_out": place.widths[1],
        "placement": place.placement,
        "tensors": place.tensors,
        "tensor_norms": {key: value if math.isfinite(value) else None for key, value in place.tensor_norms.items()},
        "rank_bound": place.rank_bound,
        "norm": None if found is None else found.norm,
        **{key: None if found is None else getattr(found, key) for key in RANKS},
        "drift": place.drift,
        "singular_values": None if found is None else [float(f"{v:.6g}") for v in found.values.tolist()],
    }


def _rows(places: Sequence[PlaceUpdate], *, every: bool) -> list[dict[str, str]]:
    if every:
        return [{"place": place.name, **_cells([place])} for place in places]
    groups: dict[Any, list[PlaceUpdate]] = {}
    for place in places:
        key = place.kind, place.widths, place.placement, tuple(place.tensors.items())
        groups.setdefault(key, []).append(place)
    return [{"place": group[0].kind, "places": str(len(group)), **_cells(group)} for group in groups.values()]


def _cells(group: Sequence[PlaceUpdate]) -> dict[str, str]:
    """Return heading → text of a place, or the means of several of the same shape."""
    first = group[0]
    spectra = [place.spectrum for place in group if place.spectrum is not None]
    several = any(name.startswith("1.") for name in first.tensors)
    names = {name: name if several else name.removeprefix("0.") for name in first.tensors}
    shapes = ", ".join(f"{names[name]} {'×'.join(map(str, shape)) or '1'}" for name, shape in first.tensors.items())
    if spectra:
        norm = _number(mean(one.norm for one in spectra))
    else:
        each = {name: mean(place.tensor_norms[name] for place in group) for name in names}
        norm = ", ".join(f"{names[name]} {_number(value)}" for name, value in each.items())
    return {
        "d_in → d_out": f"{first.widths[0]} → {first.widths[1]}",
        "tensors": shapes,
        "norm": norm,
        "rank ≤": "" if first.rank_bound is None else str(first.rank_bound),
        "effective": _number(mean(one.effective_rank for one in spectra)),
        "stable": _number(mean(one.stable_rank for one in spectra)),
        "drift": _number(mean(place.drift for place in group)),
        "σ": sparkline(spectra),
    }


def _method(config: AdapterConfig) -> str:
    insertion = config.insertion
    if config.branch is None:
        whole = insertion.get("train_backbone")
        return "no branches: the whole backbone trains" if whole else "no branches"
    settings = ", ".join(f"{key} {value}" for key, value in config.branch_config.items() if value is not None)
    targets, placement = insertion.get("target_modules", []), insertion.get("placement", "parallel")
    ways = [placement] * len(targets) if isinstance(placement, str) else placement
    where = "; ".join(
        f"{way} at {', '.join(str(target) for target, its in zip(targets, ways, strict=False) if its == way)}"
        for way in dict.fromkeys(ways)
    )
    times = insertion.get("modules_per_target", 1)
    extra = f", {times} at each" if times != 1 else ""
    extra += ", with DoRA's magnitude" if insertion.get("magnitude") else ""
    return f"{config.branch.rpartition('.')[2]}{f' ({settings})' if settings else ''}, {where}{extra}"


def _update(one: Inspection) -> str:
    if not any(place.spectrum for place in one.places):
        return ""
    found = means(one.places)
    ranks = [f", {key.replace('_', ' ')} {_number(found[f'mean_{key}'])}" for key in RANKS if found[f"mean_{key}"]]
    where = amount(len(one.places), "place")
    return f"norm {_number(found['norm'])}; mean of {where}: norm {_number(found['mean_norm'])}{''.join(ranks)}"


def _parts(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in parts.items())


def _number(value: float | int | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
