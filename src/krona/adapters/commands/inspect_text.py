"""Format the output of `krona inspect` as text or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from krona.adapters.adapter import AdapterConfig
from krona.adapters.commands.inspect import RANKS, Inspection, PlaceUpdate
from krona.adapters.update import mean
from krona.formatting import say, table, terminal_width
from krona.messages import amount
from krona.methods.placement import list_placements


def show(one: Inspection, console: Console, *, every: bool) -> None:
    """Print the inspection of an adapter. With ``every``, the table has a row for each module, not for each kind."""
    for line in lines(one):
        say(console, line)
    if one.places:
        say(console, "")
        rows = _rows(one.places, every=every)
        # the run may not have measured drift
        heads = [head for head in rows[0] if any(row[head] for row in rows) or head != "drift"]
        cells = [[row[head] for head in heads] for row in rows]
        say(console, table(heads, cells, width=terminal_width(console), left=("place", "tensors")))
    for note in one.notes:
        say(console, f"note: {note}")


def lines(one: Inspection) -> list[str]:
    """Return the lines of text that are printed before the table of modules."""
    title, content = str(one.file), dict[str, str]()
    origin, adapter = one.origin, one.adapter
    if adapter is not None and one.file is not None:
        dtypes = ", ".join(_dtypes(one)) or "empty"
        size = f"{one.file.stat().st_size:,} bytes"
        content["file"] = f"{one.file}, format {adapter.config.format}, {size}, {dtypes}"
    content["merged of"] = ", ".join(f"{weight:g} × {run}" for run, weight in one.merged.items())
    backbone = [] if origin is None else [origin.backbone_settings.name_or_path]
    if adapter is not None and (mark := adapter.config.backbone) is not None:
        hashes = f"{mark.shapes} (names and shapes) {(mark.marks or {}).get('float32', mark.frozen)} (frozen weights)"
        backbone.append(f"{mark.parameters:,} parameters, fingerprint {hashes}")
    content["backbone"] = ", ".join(backbone)
    if adapter is not None:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in one.parameters.items())
        content["method"] = _format_method(adapter.config)
        content["trained"] = f"{amount(sum(one.parameters.values()), 'parameter')}: {kinds}"
    found = means(one.places)
    if found["norm"] is not None:
        ranks = [f", {key.replace('_', ' ')} {_number(found[f'mean_{key}'])}" for key in RANKS if found[f"mean_{key}"]]
        average = f"mean of {amount(len(one.places), 'place')}: norm {_number(found['mean_norm'])}{''.join(ranks)}"
        content["update"] = f"norm {_number(found['norm'])}; {average}"
    if found["mean_drift"] is not None:
        most = max(one.places, key=lambda place: place.drift or 0.0)
        largest = f"largest {_number(most.drift)} at {most.place}"
        content["drift"] = f"mean {_number(found['mean_drift'])}, {largest} (share of the output)"
    if origin is not None:
        title = f"{origin.run_id}: {origin.method} on {origin.task_settings.name}, seed {origin.seed}"
        parts = {
            split: ", ".join(f"{name} {value:.2f}" for name, value in own.items())
            for split, own in origin.scores.items()
        }
        content["scores"] = "; ".join(f"{split} {text}" for split, text in parts.items())
    if one.missing:
        content["places"] = f"not known: {one.missing}"
    return [title, *(f"{name:<10} {text}" for name, text in content.items() if text)]


def as_json(one: Inspection) -> str:
    """Return an inspection as JSON. Singular values have six significant digits, and unknown numbers are null."""
    adapter = one.adapter
    places = [asdict(place) for place in one.places]
    for place in places:
        if place["singular_values"] is not None:
            place["singular_values"] = [float(f"{value:.6g}") for value in place["singular_values"]]
    content = {
        "origin": None if one.origin is None else asdict(one.origin),
        "file": None if one.file is None else str(one.file),
        "bytes": 0 if one.file is None else one.file.stat().st_size,
        "dtypes": _dtypes(one),
        "header": {} if adapter is None else adapter.config.model_dump(exclude={"notes"}, exclude_defaults=True),
        "merged": one.merged,
        "parameters": {"all": sum(one.parameters.values()), **one.parameters},
        "update": means(one.places),
        "tensors": {} if adapter is None else {name: tensor.shape for name, tensor in adapter.tensors.items()},
        "places": places,
        "notes": one.notes,
        "missing": one.missing,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, default=dict)


def means(places: Sequence[PlaceUpdate]) -> dict[str, float | int | None]:
    """Return the norm of the whole update, and the means over all modules whose value is known."""
    norms = [place.norm for place in places if place.norm is not None]
    return {
        "places": len(places),
        "norm": sum(norm**2 for norm in norms) ** 0.5 if norms else None,
        "mean_norm": mean(norms),
        **{f"mean_{key}": mean(getattr(place, key) for place in places) for key in (*RANKS, "drift")},
    }


def _dtypes(one: Inspection) -> list[str]:
    tensors = [] if one.adapter is None else one.adapter.tensors.values()
    return sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors})


def _rows(places: Sequence[PlaceUpdate], *, every: bool) -> list[dict[str, str]]:
    if every:
        return [{"place": place.place, **_cells([place])} for place in places]
    groups: dict[Any, list[PlaceUpdate]] = {}
    for place in places:
        key = place.kind, place.d_in, place.d_out, place.placement, tuple(place.tensors.items())
        groups.setdefault(key, []).append(place)
    return [{"place": group[0].kind, "places": str(len(group)), **_cells(group)} for group in groups.values()]


def _cells(group: Sequence[PlaceUpdate]) -> dict[str, str]:
    """Return the cells of one row by heading: means over modules of the same shape."""
    first = group[0]
    several = any(name.startswith("1.") for name in first.tensors)
    names = {name: name if several else name.removeprefix("0.") for name in first.tensors}
    shapes = ", ".join(f"{names[name]} {'×'.join(map(str, shape)) or '1'}" for name, shape in first.tensors.items())
    norm = _number(mean(place.norm for place in group))
    if not norm:
        each = {name: mean(place.tensor_norms[name] for place in group) for name in names}
        norm = ", ".join(f"{names[name]} {_number(value)}" for name, value in each.items())
    return {
        "d_in → d_out": f"{first.d_in} → {first.d_out}",
        "tensors": shapes,
        "norm": norm,
        "rank ≤": "" if first.rank_bound is None else str(first.rank_bound),
        "effective": _number(mean(place.effective_rank for place in group)),
        "stable": _number(mean(place.stable_rank for place in group)),
        "drift": _number(mean(place.drift for place in group)),
    }


def _format_method(config: AdapterConfig) -> str:
    insertion = config.insertion
    if config.branch is None:
        return "no branches" + (": the whole backbone trains" if insertion.get("train_backbone") else "")
    settings = ", ".join(f"{key} {value}" for key, value in config.branch_config.items() if value is not None)
    targets: dict[str, list[str]] = {}
    for target, placement in zip(insertion.get("target_modules", []), list_placements(insertion), strict=False):
        targets.setdefault(placement, []).append(str(target))
    where = "; ".join(f"{placement} at {', '.join(own)}" for placement, own in targets.items())
    times = insertion.get("modules_per_target", 1)
    extra = f", {times} at each module" if times != 1 else ""
    extra += ", with DoRA's magnitude" if insertion.get("magnitude") else ""
    return f"{config.branch.rpartition('.')[2]}{f' ({settings})' if settings else ''}, {where}{extra}"


def _number(value: float | int | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
