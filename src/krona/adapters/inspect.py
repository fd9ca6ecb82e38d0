"""`krona inspect`: describe the adapter of a run, without loading the backbone's weights."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from krona import surgery
from krona.adapters.adapter import Adapter
from krona.adapters.find import find
from krona.adapters.update import MEASURES, mean, spectrum
from krona.backbones.load import meta_model
from krona.formatting import table
from krona.messages import KronaError, plural
from krona.runs.result import Result
from krona.surgery.state import get_adapter, prompt_length
from krona.surgery.target_modules import widths_at
from krona.surgery.trainable import frozen_tensors, rank_of_branches


def inspect(run: str | Path, *, backbone: str | None = None) -> dict[str, Any]:
    """Return the content of a run's adapter or of an adapter file, as ``krona inspect --json`` prints it.

    The backbone is built without weights, from the config in its folder or from the setting ``sizes`` in its YAML file.
    If the backbone cannot be built, ``missing`` contains the reason and ``places`` is empty.

    Args:
        backbone: the folder of the backbone, if the backbone was moved after the run.
    """
    trained = find(run)
    content: dict[str, Any] = {"origin": asdict(trained.origin), "places": [], "notes": []}
    if trained.adapter is None:
        return content | {"missing": "the run trained nothing"}
    adapter = Adapter.load(trained.adapter)
    content |= {
        "file": str(trained.adapter),
        "bytes": trained.adapter.stat().st_size,
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in adapter.tensors.values()}),
        "header": adapter.config.model_dump(exclude={"notes"}, exclude_defaults=True),
        "parameters": {"all": sum(tensor.numel() for tensor in adapter.tensors.values())},
        "tensors": {name: list(tensor.shape) for name, tensor in adapter.tensors.items()},
    }
    settings = trained.origin.with_backbone(backbone).backbone_settings
    if settings.sizes is not None and backbone is None:  # the sizes in the YAML file need no folder and no network
        settings = replace(settings, path=None, pretrained=False, tokenizer=None)
    try:
        model = meta_model(settings, trained.origin.task_settings)
        adapter.insert(model, other_backbone=True)
    except KronaError as error:
        return content | {"missing": str(error)}
    return content | _count_parameters(model, adapter) | _measure(model, trained.result)


def _count_parameters(model: nn.Module, adapter: Adapter) -> dict[str, Any]:
    trained = get_adapter(model, "default").trained
    frozen = sum(tensor.numel() for tensor in frozen_tensors(model, "default").values())
    weights = sum(tensor.numel() for name, tensor in adapter.tensors.items() if name in trained)
    every = sum(tensor.numel() for tensor in adapter.tensors.values()) - frozen
    return {"frozen": frozen, "parameters": {"all": every, "branches": every - weights, "backbone weights": weights}}


def _measure(model: nn.Module, result: Result | None) -> dict[str, Any]:
    """Return the measurements of the whole update and of each adapted module, and notes for the user."""
    learned = result.learned["by_place"] if result is not None and result.learned else {}
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    places, notes = list[dict[str, Any]](), dict[str, None]()
    for path, adapted in surgery.adapted_modules(model):
        name, (d_in, d_out) = surgery.public_name(path), widths_at(adapted, "default")
        place: dict[str, Any] = {
            "place": name,
            "kind": re.sub(r"[A-Za-z_]+\.\d+(\.|$)", "", name.removeprefix(prefix)).replace(".", " ") or name,
            "d_in": d_in,
            "d_out": d_out,
            "placement": adapted.placements["default"].placement,
            "tensors": {key: list(parameter.shape) for key, parameter in adapted.own_parameters("default")},
            "rank_bound": rank_of_branches(adapted, "default"),
            **{key: learned.get(name, {}).get(key) for key in MEASURES},  # as the run measured them
            "singular_values": None,
        }
        try:
            found = spectrum(adapted)
            place |= {**found.measures, "rank_bound": len(found.values)}
            place["singular_values"] = [float(f"{value:.6g}") for value in found.values.tolist()]
        except KronaError as error:
            if place["norm"] is None:
                notes[f"the update cannot be measured ({error})"] = None
        places.append(place)
    measured = [place for place in places if place["norm"] is not None]
    if prompt_length(model):
        notes["the adapter is a prompt, which does not change weights"] = None
    elif not places:
        notes["the adapter has no branches, and changes of the backbone's weights are not measured"] = None
    if any(place["placement"] != "parallel" for place in measured):
        notes["the update is M - I, where the matrix M multiplies the output or input of the module"] = None
    if any("magnitude" in place["tensors"] for place in measured):
        notes["the update excludes DoRA's magnitude, whose effect depends on the backbone's weights"] = None
    if any(key.endswith("bias") for place in measured for key in place["tensors"]):
        notes["the update does not include biases"] = None
    update = {f"mean_{key}": mean(place[key] for place in places) for key in MEASURES}
    update["norm"] = sum(place["norm"] ** 2 for place in measured) ** 0.5 if measured else None
    return {"update": update, "places": places, "notes": list(notes)}


def format_text(content: Mapping[str, Any], *, every: bool = False, width: int | None = None) -> list[Any]:
    """Return the result of `inspect` as lines for a terminal. With ``every``, the table has a row for each module."""
    origin, lines = content["origin"], _header_lines(content) | _update_lines(content)
    title = f"{origin['run_id']}: {origin['method']} on {origin['task']['name']}, seed {origin['seed']}"
    scores = {split: ", ".join(f"{k} {v:.2f}" for k, v in values.items()) for split, values in origin["scores"].items()}
    lines["scores"] = "; ".join(f"{split} {text}" for split, text in scores.items())
    if content.get("missing"):
        lines["modules"] = f"not known: {content['missing']}"
    shown = [title, *(f"{name:<10} {text}" for name, text in lines.items() if text)]
    if content["places"]:
        shown += ["", _format_places(content["places"], every=every, width=width)]
    return shown + [f"note: {note}" for note in content["notes"]]


def _header_lines(content: Mapping[str, Any]) -> dict[str, str]:
    if (header := content.get("header")) is None:
        return {}
    origin, backbone, dtypes = content["origin"], header["backbone"], ", ".join(content["dtypes"]) or "empty"
    name = origin["backbone"].get("path") or origin["backbone"]["name"]
    settings = ", ".join(f"{key} {value}" for key, value in header["branch_config"].items() if value is not None)
    branch = "no branches" if header["branch"] is None else header["branch"].rpartition(".")[2]
    targets = ", ".join(header["insertion"].get("target_modules", []))
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in content["parameters"].items() if kind != "all")
    return {
        "file": f"{content['file']}, format {header['format']}, {content['bytes']:,} bytes, {dtypes}",
        "backbone": f"{name}, {backbone['parameters']:,} parameters, fingerprint {backbone['shapes']}",
        "method": f"{branch}{f' ({settings})' if settings else ''}{f' at {targets}' if targets else ''}",
        "trained": f"{plural(content['parameters']['all'], 'parameter')}{f': {kinds}' if kinds else ''}",
        "frozen": f"{content['frozen']:,} values of the branches" if content.get("frozen") else "",
    }


def _update_lines(content: Mapping[str, Any]) -> dict[str, str]:
    lines, update, places = {}, content.get("update", {}), content["places"]
    if update.get("norm") is not None:
        means = ", ".join(f"{key.replace('_', ' ')} {_number(update[f'mean_{key}'])}" for key in MEASURES[:-1])
        lines["update"] = f"norm {_number(update['norm'])}; mean of {plural(len(places), 'module')}: {means}"
    if (drift := update.get("mean_drift")) is not None:
        largest = max(places, key=lambda place: place["drift"] or 0.0)
        lines["drift"] = f"mean {_number(drift)}, largest {_number(largest['drift'])} at {largest['place']}"
    return lines


def _format_places(places: Sequence[Mapping[str, Any]], *, every: bool, width: int | None) -> Any:
    """Return a table with a row for each module or, without ``every``, for all modules of the same name and sizes.

    The names do not include layer numbers. A row for several modules contains the means of their measurements.
    """
    frame = pd.DataFrame(places).rename(columns={"place": "module"})
    frame["tensors"] = [_format_shapes(tensors) for tensors in frame["tensors"]]
    frame["d_in → d_out"] = [f"{d_in} → {d_out}" for d_in, d_out in zip(frame["d_in"], frame["d_out"], strict=True)]
    keys = ["module" if every else "kind", "d_in → d_out", "tensors"]
    measured = [key for key in (*MEASURES, "rank_bound") if frame[key].notna().any()]
    frame[measured] = frame[measured].astype(float)
    groups = frame.groupby([*keys, "placement"], sort=False)
    rows = groups[measured].mean().assign(modules=groups.size()).reset_index()
    heads = [*keys, "modules", *measured]
    cells = [[_number(value) if not isinstance(value, str) else value for value in row] for row in rows[heads].values]
    return table([head.replace("_", " ") for head in heads], cells, width=width, left=("kind", "module", "tensors"))


def _format_shapes(tensors: Mapping[str, Sequence[int]]) -> str:
    several = any(name.startswith("1.") for name in tensors)
    names = {name: name if several else name.removeprefix("0.") for name in tensors}
    return ", ".join(f"{names[name]} {'×'.join(map(str, shape)) or '1'}" for name, shape in tensors.items())


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
