"""`krona inspect`: describe the adapter of a run, without loading the backbone's weights."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from krona import surgery
from krona.adapters.adapter import Adapter, AdapterConfig
from krona.adapters.find import adapter_file, find
from krona.adapters.origin import Origin, read_origin
from krona.adapters.update import mean, spectrum
from krona.backbones.load import meta_model
from krona.formatting import table
from krona.messages import KronaError, amount
from krona.runs import file_names
from krona.surgery.state import get_adapter
from krona.surgery.targets import widths_at
from krona.surgery.trainable import frozen_tensors, rank_of_branches

MEASURES = ("norm", "effective_rank", "stable_rank", "drift")


def inspect(run: str | Path, *, backbone: str | None = None) -> dict[str, Any]:
    """Return the content of a run's adapter or of an adapter's file, as ``krona inspect --json`` prints it.

    The backbone is built without weights, from the config in its folder or from the setting ``sizes`` in its YAML file.
    If neither exists, ``missing`` contains the reason, and ``places`` is empty.

    Args:
        backbone: the folder of the backbone, if it was moved after the run.
    """
    file, result = adapter_file(run), None
    if file is not None and not (file.parent / file_names.RESULT).is_file():
        origin = read_origin(AdapterConfig.read(file).notes, file)
    else:
        found = find(run)
        origin, file, result = found.origin, found.adapter, found.result
    content: dict[str, Any] = {"origin": None if origin is None else asdict(origin), "places": [], "notes": []}
    if file is None:
        return content | {"missing": "the run trained nothing"}
    adapter = Adapter.load(file, finite=False)
    content |= {
        "file": str(file),
        "bytes": file.stat().st_size,
        "dtypes": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in adapter.tensors.values()}),
        "header": adapter.config.model_dump(exclude={"notes"}, exclude_defaults=True),
        "parameters": {"all": sum(tensor.numel() for tensor in adapter.tensors.values())},
        "tensors": {name: list(tensor.shape) for name, tensor in adapter.tensors.items()},
    }
    built = "the file does not record its backbone" if origin is None else _build(origin, adapter, backbone)
    if not isinstance(built, nn.Module):
        return content | {"missing": built}
    trained = get_adapter(built, "default").trained
    content["frozen"] = sum(tensor.numel() for tensor in frozen_tensors(built, "default").values())
    weights = sum(tensor.numel() for name, tensor in adapter.tensors.items() if name in trained)
    parameters = content["parameters"]["all"] - content["frozen"]
    content["parameters"] = {"all": parameters, "branches": parameters - weights, "backbone weights": weights}
    by_place = {} if result is None or result.learned is None else result.learned["by_place"]
    places, notes = _measure_places(built, by_place)
    norms = [place["norm"] for place in places if place["norm"] is not None]
    update = {f"mean_{key}": mean(place[key] for place in places) for key in MEASURES}
    update["norm"] = sum(norm**2 for norm in norms) ** 0.5 if norms else None
    return content | {"update": update, "places": places, "notes": notes}


def _build(origin: Origin, adapter: Adapter, backbone: str | None) -> nn.Module | str:
    """Return the backbone on the meta device, with the adapter inserted, or the reason why this is not possible.

    The sizes in the backbone's YAML file are tried first, because they need no network.
    """
    settings = origin.with_backbone(backbone).backbone_settings
    problem, without_network = "", replace(settings, path=None, pretrained=False, tokenizer=None)
    for choice in [settings] if settings.sizes is None or backbone is not None else [without_network, settings]:
        try:
            model = meta_model(choice, origin.task_settings)
            adapter.insert(model, other_backbone=True)
            return model
        except KronaError as error:
            problem = str(error)
    return problem


def _measure_places(model: nn.Module, by_place: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the update of each adapted module, and notes. ``by_place`` has the drift that the run measured."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    places, notes = [], dict[str, None]()
    for path, adapted in surgery.adapted_modules(model):
        name, own = surgery.public_name(path), dict(adapted.own_parameters("default"))
        d_in, d_out = widths_at(adapted, "default")
        placement = adapted.places["default"].placement
        place: dict[str, Any] = {
            "place": name,
            "kind": place_kind(name.removeprefix(prefix)),
            "d_in": d_in,
            "d_out": d_out,
            "placement": placement,
            "tensors": {key: list(parameter.shape) for key, parameter in own.items()},
            "rank_bound": rank_of_branches(adapted, "default"),
            **dict.fromkeys((*MEASURES, "singular_values")),
        }
        place["drift"] = by_place.get(name, {}).get("drift")
        try:
            found = spectrum(adapted)
            place |= {key: getattr(found, key) for key in MEASURES[:-1]} | {"rank_bound": len(found.values)}
            place["singular_values"] = [float(f"{value:.6g}") for value in found.values.tolist()]
            if placement != "parallel":
                notes[
                    "M multiplies the output or input, the update is M - I, and W changes by (M - I) W or W (M - I)"
                ] = None
            if "default" in adapted.magnitudes:
                notes["the update excludes DoRA's magnitude, whose effect depends on the backbone's weights"] = None
            if any(key.endswith("bias") for key in own):
                notes["the update does not include biases"] = None
        except KronaError as error:
            notes[f"the update is not known ({error})"] = None
        places.append(place)
    if not places:
        notes["the adapter has no branches, and the change of the backbone's weights is not measured here"] = None
    return places, list(notes)


def place_kind(name: str) -> str:
    """Return a module's name without layer numbers: ``SelfAttention q`` for ``block.0.layer.0.SelfAttention.q``."""
    return " ".join(re.sub(r"[A-Za-z_]+\.\d+(\.|$)", "", name).split(".")) or name


def format_text(content: Mapping[str, Any], *, every: bool = False, width: int | None = None) -> list[Any]:
    """Return an inspection as lines for a terminal. With ``every``, the table has a row for each module."""
    origin, header, update = content["origin"], content.get("header"), content.get("update", {})
    title, lines = str(content.get("file")), dict[str, str]()
    if header is not None:
        dtypes = ", ".join(content["dtypes"]) or "empty"
        lines["file"] = f"{content['file']}, format {header['format']}, {content['bytes']:,} bytes, {dtypes}"
        backbone = header["backbone"]
        name = "" if origin is None else f"{origin['backbone'].get('path') or origin['backbone']['name']}, "
        lines["backbone"] = f"{name}{backbone['parameters']:,} parameters, fingerprint {backbone['shapes']}"
        settings = ", ".join(f"{key} {value}" for key, value in header["branch_config"].items() if value is not None)
        branch = "no branches" if header["branch"] is None else header["branch"].rpartition(".")[2]
        targets = ", ".join(header["insertion"].get("target_modules", []))
        lines["method"] = f"{branch}{f' ({settings})' if settings else ''}{f' at {targets}' if targets else ''}"
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in content["parameters"].items() if kind != "all")
        lines["trained"] = f"{amount(content['parameters']['all'], 'parameter')}{f': {kinds}' if kinds else ''}"
    if content.get("frozen"):
        lines["frozen"] = f"{content['frozen']:,} values of the branches"
    if update.get("norm") is not None:
        means = ", ".join(f"{key.replace('_', ' ')} {_number(update[f'mean_{key}'])}" for key in MEASURES[:-1])
        lines["update"] = f"norm {_number(update['norm'])}; mean of {amount(len(content['places']), 'module')}: {means}"
    if update.get("mean_drift") is not None:
        largest = max(content["places"], key=lambda place: place["drift"] or 0.0)
        lines["drift"] = (
            f"mean {_number(update['mean_drift'])}, largest {_number(largest['drift'])} at {largest['place']}"
        )
    if origin is not None:
        title = f"{origin['run_id']}: {origin['method']} on {origin['task']['name']}, seed {origin['seed']}"
        scores = {split: ", ".join(f"{k} {v:.2f}" for k, v in own.items()) for split, own in origin["scores"].items()}
        lines["scores"] = "; ".join(f"{split} {text}" for split, text in scores.items())
    if content.get("missing"):
        lines["modules"] = f"not known: {content['missing']}"
    found = [title, *(f"{name:<10} {text}" for name, text in lines.items() if text)]
    if content["places"]:
        found += ["", _format_places(content["places"], every=every, width=width)]
    return found + [f"note: {note}" for note in content["notes"]]


def _format_places(places: Sequence[Mapping[str, Any]], *, every: bool, width: int | None) -> Any:
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


def _number(value: Any) -> str:
    return "" if value is None or value != value else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
