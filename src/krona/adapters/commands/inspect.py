"""`krona inspect`: describe the adapter of a run, without loading the backbone's weights."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from krona import surgery
from krona.adapters.adapter import Adapter, AdapterConfig
from krona.adapters.commands.merge import merged_runs
from krona.adapters.find import adapter_file, find
from krona.adapters.fingerprint import OtherBackboneError
from krona.adapters.origin import Origin, read_origin
from krona.adapters.update import spectrum
from krona.backbones.load import meta_model
from krona.messages import KronaError
from krona.runs import file_names
from krona.surgery.state import norm_modules
from krona.surgery.targets import widths_at
from krona.surgery.trainable import rank_of_branches
from krona.surgery.wrapper import Adapted

RANKS = ("effective_rank", "stable_rank")


@dataclass(frozen=True, kw_only=True)
class PlaceUpdate:
    """The update of one module. ``krona inspect --json`` prints these fields."""

    place: str  # the name of the module
    kind: str  # the name without layer numbers
    d_in: int
    d_out: int
    placement: str
    tensors: Mapping[str, tuple[int, ...]]  # shapes by name
    tensor_norms: Mapping[str, float | None]  # Frobenius norms by name; None if a norm is not finite
    rank_bound: int | None  # the highest rank that the update can have, or None if a branch is not linear
    norm: float | None = None  # this and the next two values and singular_values are None if the update is not a matrix
    effective_rank: float | None = None
    stable_rank: float | None = None
    drift: float | None = None  # as the run measured it (`krona.adapters.update`)
    singular_values: list[float] | None = None


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The content of an adapter, and its origin."""

    origin: Origin | None  # None if it is not known
    adapter: Adapter | None = None  # None if the run trained no parameters
    merged: Mapping[str, float] = field(default_factory=dict)  # weights by run, for a file that `krona merge` wrote
    parameters: Mapping[str, int] = field(default_factory=dict)  # the number of trained parameters of each kind
    places: list[PlaceUpdate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what the numbers do not include
    missing: str | None = None  # the reason why the updates are not known

    @property
    def file(self) -> Path | None:
        return None if self.adapter is None else self.adapter.path


def inspect(run: str | Path, *, backbone: str | None = None) -> Inspection:
    """Return the content of a run's adapter or of an adapter's file.

    The backbone is built without weights, from the config in its folder or from the setting ``sizes`` in its YAML file.
    If neither exists, only the content of the adapter's file is returned. ``backbone`` is its folder, if it was moved.
    """
    file, result = adapter_file(run), None
    if file is not None and not (file.parent / file_names.RESULT).is_file():
        origin = read_origin(AdapterConfig.read(file).notes, file)
    else:
        found = find(run)
        origin, file, result = found.origin, found.adapter, found.result
    if file is None:
        return Inspection(origin=origin, missing="the run trained nothing")
    adapter = Adapter.load(file, finite=False)
    merged = merged_runs(adapter.config.notes, file)
    known = Inspection(origin=origin, adapter=adapter, merged=merged)
    built = "the file does not record its backbone" if origin is None else _rebuild(origin, adapter, backbone)
    if isinstance(built, nn.Module):
        measured = {} if result is None or result.learned is None else result.learned["by_place"]
        places, notes = _measure_places(built, measured)
        return replace(known, parameters=_count_by_kind(built), places=places, notes=notes)
    heads = tuple(f"{name}." for name in adapter.config.insertion.get("head", ()))
    head = sum(tensor.numel() for name, tensor in adapter.tensors.items() if name.startswith(heads))
    rest = sum(tensor.numel() for tensor in adapter.tensors.values()) - head
    parameters = {"branches and backbone weights": rest} | ({"head": head} if head else {})
    return replace(known, parameters=parameters, missing=built)


def _rebuild(origin: Origin, adapter: Adapter, backbone: str | None) -> nn.Module | str:
    """Return the backbone on the meta device, with the adapter inserted, or the reason why this is not possible.

    The first config of the backbone that fits the adapter is used.
    """
    settings = origin.with_backbone(backbone).backbone_settings
    folder, choices = settings.folder, [settings]
    if backbone is None and settings.sizes is not None and (folder is None or not folder.is_dir()):
        # from the sizes, without network access
        choices.insert(0, replace(settings, path=None, pretrained=False, tokenizer=None))
    problem = ""
    for choice in choices:
        try:
            model = meta_model(choice, origin.task_settings)
        except KronaError as error:
            problem = str(error)
            continue
        try:
            adapter.insert(model, other_backbone=True)
            return model
        except OtherBackboneError as error:
            problem = str(error)
    return problem


def _count_by_kind(model: nn.Module) -> dict[str, int]:
    adapter = model.__dict__["krona"].adapters["default"]
    heads = tuple(f"{name}." for name in adapter.insertion.get("head", ()))
    norms = tuple(f"{name}." for name in norm_modules(model))
    counts = dict.fromkeys(("branches", "normalisations", "other backbone weights", "head"), 0)
    for name, tensor in surgery.adapter_state(model, "default").items():
        if name not in adapter.trained:
            kind = "branches"
        elif name.startswith(heads):
            kind = "head"
        else:
            kind = "normalisations" if name.startswith(norms) else "other backbone weights"
        counts[kind] += tensor.numel()
    return {kind: count for kind, count in counts.items() if count}


def _measure_places(model: nn.Module, run: Mapping[str, Mapping[str, Any]]) -> tuple[list[PlaceUpdate], list[str]]:
    """Return the update of each adapted module, and notes. ``run`` has the values that the run measured, by module."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    places, notes = [], dict[str, None]()
    for path, adapted in surgery.adapted_modules(model):
        name, own = surgery.public_name(path), dict(adapted.own_parameters("default"))
        rank, update = rank_of_branches(adapted, "default"), {}
        try:
            found = spectrum(adapted)
            rank, values = len(found.values), found.values.tolist()
            update = {key: getattr(found, key) for key in ("norm", *RANKS)} | {"singular_values": values}
            notes |= dict.fromkeys(_omissions(adapted, own))
        except KronaError as error:
            notes[f"only the norms of the tensors are known ({error})"] = None
        norms = {key: float(torch.linalg.vector_norm(p.double())) for key, p in own.items()}
        d_in, d_out = widths_at(adapted, "default")
        places.append(
            PlaceUpdate(
                place=name,
                kind=place_kind(name.removeprefix(prefix)),
                d_in=d_in,
                d_out=d_out,
                placement=adapted.places["default"].placement,
                tensors={key: tuple(p.shape) for key, p in own.items()},
                tensor_norms={key: norm if math.isfinite(norm) else None for key, norm in norms.items()},
                rank_bound=rank,
                drift=run.get(name, {}).get("drift"),
                **update,
            )
        )
    if not places:
        notes["the adapter has no branches, and the change of the backbone's weights is not measured here"] = None
    return places, list(notes)


def _omissions(adapted: Adapted, own: Mapping[str, Any]) -> Iterator[str]:
    if adapted.places["default"].placement != "parallel":
        yield "the update is M - I, where M multiplies the output or input; W changes by (M - I) W or W (M - I)"
    if "default" in adapted.magnitudes:
        yield "the update does not include DoRA's magnitude, because its effect depends on the backbone's weights"
    if any(key.endswith("bias") for key in own):
        yield "the update does not include biases"


def place_kind(name: str) -> str:
    """Return a module's name without layer numbers: ``SelfAttention q`` for ``block.0.layer.0.SelfAttention.q``."""
    return " ".join(re.sub(r"[A-Za-z_]+\.\d+(\.|$)", "", name).split(".")) or name
