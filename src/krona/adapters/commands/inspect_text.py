"""An inspection in words, as a table and as JSON."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from rich.console import Console

from krona.adapters.commands import directions
from krona.adapters.commands.inspect import Inspection, Place
from krona.adapters.spectra import Spectrum
from krona.messages import amount
from krona.outputs.forgetting import format_forgetting
from krona.screen import say, table, width_of

BARS = "▁▂▃▄▅▆▇"
SPARK, DECADES = 10, 3  # characters of a sparkline, and its height


def show(
    one: Inspection, console: Console, *, every: bool, lies: Mapping[str, directions.Directions] | None = None
) -> None:
    """Print an inspection; ``every``: a row for each place, else one for places of the same kind and shape.

    ``lies``: how the updates lie in the backbone's weights.
    """
    for line in lines(one):
        say(console, line)
    if one.places:
        say(console, "")
        heads, rows = _rows(one.places) if every else _grouped(one.places)
        if all(place.drift is None for place in one.places):  # not measured
            at = heads.index("drift")
            heads, rows = heads[:at] + heads[at + 1 :], [row[:at] + row[at + 1 :] for row in rows]
        say(console, table(heads, rows, width=width_of(console), left=("place", "tensors", "σ")))
        if any(place.spectrum for place in one.places):
            say(
                console, f"σ: singular values by their index; {BARS[-1]} is the largest, {BARS[0]} a thousandth or less"
            )
    if lies:
        say(console, "")
        say(console, table(*directions.rows(lies, every=every), width=width_of(console), left=("place",)))
        say(console, directions.EXPLAINED)
    for note in one.notes:
        say(console, f"note: {note}")


def lines(one: Inspection) -> list[str]:
    """All but the places."""
    origin, header, found = one.origin, one.header, list[tuple[str, str]]()
    title = str(one.file)
    if origin is not None:
        title = f"{origin.run_id}: {origin.method} on {origin.task_settings.name}, seed {origin.seed}"
    if one.file is not None:
        found.append(
            ("file", f"{one.file}, format {header['format']}, {one.size:,} bytes, {', '.join(one.dtypes) or 'empty'}")
        )
    if one.merged:
        found.append(("merged of", ", ".join(f"{weight:g} × {run}" for run, weight in one.merged.items())))
    marks = header.get("backbone") or {}
    names = [] if origin is None else [str(origin.backbone["path"] or origin.backbone["name"])]
    if marks:
        names.append(
            f"{marks['parameters']:,} parameters, fingerprint {marks['shapes']} (names and shapes) "
            f"{(marks.get('marks') or {}).get('float32', marks['frozen'])} (frozen weights)"
        )
    found.append(("backbone", ", ".join(names)))
    if header:
        found += [("method", _method(header)), ("trained", _trained(one.parameters))]
    if any(place.spectrum for place in one.places):
        found.append(("update", _update(one)))
    if (drift := means(one.places)["mean_drift"]) is not None:
        largest = max(one.places, key=lambda place: place.drift or 0.0)
        found.append(
            (
                "drift",
                f"mean {_number(drift)}, largest {_number(largest.drift)} at {largest.name} (share of the output)",
            )
        )
    if origin is not None and origin.scores:
        found.append(("scores", "; ".join(f"{split} {_parts(parts)}" for split, parts in origin.scores.items())))
    if one.forgetting:
        found.append(("forgetting", format_forgetting(one.forgetting)))
    if one.missing:
        found.append(("places", f"not known: {one.missing}"))
    return [title, *(f"{name:<10} {text}" for name, text in found if text)]


def as_json(one: Inspection, lies: Mapping[str, directions.Directions] | None = None) -> str:
    """The same as JSON. Singular values have six digits; numbers that an update has not are null."""
    content = {
        "origin": None if one.origin is None else asdict(one.origin),
        "file": None if one.file is None else str(one.file),
        "bytes": one.size,
        "dtypes": one.dtypes,
        "header": one.header,
        "merged": one.merged,
        "parameters": {"all": sum(one.parameters.values()), **one.parameters},
        "update": means(one.places),
        "tensors": one.tensors,
        "places": [_place(place) for place in one.places],
        "forgetting": one.forgetting,
        "directions": None if lies is None else {name: asdict(found) for name, found in lies.items()},
        "notes": one.notes,
        "missing": one.missing,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, default=dict)


def means(places: Sequence[Place]) -> dict[str, float | int | None]:
    """The norm of the whole update, and means over the places that have a spectrum."""
    spectra = [place.spectrum for place in places if place.spectrum is not None]
    return {
        "places": len(places),
        "norm": sum(one.norm**2 for one in spectra) ** 0.5 if spectra else None,
        "mean_norm": _mean(one.norm for one in spectra),
        "mean_effective_rank": _mean(one.effective_rank for one in spectra),
        "mean_stable_rank": _mean(one.stable_rank for one in spectra),
        "mean_drift": _mean(place.drift for place in places),
    }


def sparkline(spectra: Sequence[Spectrum]) -> str:
    """The mean of log σ/σ₁, at least -3, at up to ten indices from the first to the last; empty where all are 0."""
    curves = [one.values / one.values[0] for one in spectra if len(one.values) and one.values[0] > 0]
    if not curves:
        return ""
    length = min(len(curve) for curve in curves)
    count = min(length, SPARK)
    at = [round(i * (length - 1) / max(1, count - 1)) for i in range(count)]
    logs = [sum(math.log10(max(float(curve[i]), 10.0**-DECADES)) for curve in curves) / len(curves) for i in at]
    return "".join(BARS[round((1 + log / DECADES) * (len(BARS) - 1))] for log in logs)


def _place(place: Place) -> dict[str, Any]:
    spectrum = place.spectrum
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
        "norm": None if spectrum is None else spectrum.norm,
        "effective_rank": None if spectrum is None else spectrum.effective_rank,
        "stable_rank": None if spectrum is None else spectrum.stable_rank,
        "drift": place.drift,
        "singular_values": None if spectrum is None else [float(f"{v:.6g}") for v in spectrum.values.tolist()],
    }


def _rows(places: Sequence[Place]) -> tuple[list[str], list[list[str]]]:
    heads = ["place", "d_in → d_out", "tensors", "norm", "rank ≤", "effective", "stable", "drift", "σ"]
    return heads, [[place.name, *_cells([place])] for place in places]


def _grouped(places: Sequence[Place]) -> tuple[list[str], list[list[str]]]:
    def same(place: Place) -> tuple[Any, ...]:
        return place.kind, place.widths, place.placement, tuple(place.tensors.items())

    heads = ["place", "places", "d_in → d_out", "tensors", "norm", "rank ≤", "effective", "stable", "drift", "σ"]
    order = {key: number for number, key in reversed(list(enumerate(map(same, places))))}
    groups = groupby(sorted(places, key=lambda place: order[same(place)]), key=same)
    found = [list(group) for _, group in groups]
    return heads, [[group[0].kind, str(len(group)), *_cells(group)] for group in found]


def _cells(group: Sequence[Place]) -> list[str]:
    """The cells of a place, or the means of several of the same shape."""
    first = group[0]
    spectra = [place.spectrum for place in group if place.spectrum is not None]
    several = any(name.startswith("1.") for name in first.tensors)
    names = {name: name if several else name.removeprefix("0.") for name in first.tensors}
    shapes = ", ".join(f"{names[name]} {'×'.join(map(str, shape)) or '1'}" for name, shape in first.tensors.items())
    if spectra:
        norm = _number(_mean(one.norm for one in spectra))
    else:
        each = {name: _mean(place.tensor_norms[name] for place in group) for name in names}
        norm = ", ".join(f"{names[name]} {_number(value)}" for name, value in each.items())
    return [
        f"{first.widths[0]} → {first.widths[1]}",
        shapes,
        norm,
        "" if first.rank_bound is None else str(first.rank_bound),
        _number(_mean(one.effective_rank for one in spectra)),
        _number(_mean(one.stable_rank for one in spectra)),
        _number(_mean(place.drift for place in group)),
        sparkline(spectra),
    ]


def _method(header: Mapping[str, Any]) -> str:
    insertion, branch = header["insertion"], header["branch"]
    if branch is None:
        whole = insertion.get("train_backbone")
        return "no branches: the whole backbone trains" if whole else "no branches"
    settings = ", ".join(f"{key} {value}" for key, value in header["branch_config"].items() if value is not None)
    targets, placement = insertion.get("target_modules", []), insertion.get("placement", "parallel")
    ways = [placement] * len(targets) if isinstance(placement, str) else placement
    where = "; ".join(
        f"{way} at {', '.join(str(target) for target, its in zip(targets, ways, strict=False) if its == way)}"
        for way in dict.fromkeys(ways)
    )
    times = insertion.get("modules_per_target", 1)
    extra = f", {times} at each" if times != 1 else ""
    extra += ", with DoRA's magnitude" if insertion.get("magnitude") else ""
    return f"{branch.rpartition('.')[2]}{f' ({settings})' if settings else ''}, {where}{extra}"


def _trained(parameters: Mapping[str, int]) -> str:
    parts = ", ".join(f"{kind} {count:,}" for kind, count in parameters.items())
    return f"{amount(sum(parameters.values()), 'parameter')}: {parts}"


def _update(one: Inspection) -> str:
    found = means(one.places)
    ranks = ", ".join(
        f"{word} rank {_number(found[f'mean_{word}_rank'])}"
        for word in ("effective", "stable")
        if found[f"mean_{word}_rank"] is not None
    )
    where = amount(len(one.places), "place")
    return f"norm {_number(found['norm'])}; mean of {where}: norm {_number(found['mean_norm'])}{ranks and f', {ranks}'}"


def _parts(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in parts.items())


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _number(value: float | int | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
