"""`krona inspect`: what is in a run's adapter, read without the backbone's weights."""

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
from krona.adapters.update import Spectrum, spectrum
from krona.backbones.load import meta_model
from krona.backbones.source import find_folder
from krona.config.settings import Backbone
from krona.messages import KronaError
from krona.runs import names
from krona.runs.result import Result
from krona.surgery.layers import is_norm
from krona.surgery.targets import widths_at
from krona.surgery.trainable import rank_of_branches
from krona.surgery.wrapper import Adapted, base_of


@dataclass(frozen=True, kw_only=True)
class PlaceUpdate:
    """The update at one place. kind: the place's name without its numbers; layer: the first of them.

    tensors: name → shape; tensor_norms: name → Frobenius norm. spectrum: None where the update is not a matrix. drift:
    as the run measured it (`krona.adapters.measure`).
    """

    name: str
    kind: str
    layer: int | None
    widths: tuple[int, int]
    placement: str
    tensors: Mapping[str, tuple[int, ...]]
    tensor_norms: Mapping[str, float]
    rank_bound: int | None
    spectrum: Spectrum | None
    drift: float | None = None


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """An adapter and its origin. origin, adapter: None if there is none; result: None for a file without a run.

    merged: run → weight, of a file that `krona merge` wrote. parameters: how many train, by kind. missing: why the
    places are not known. notes: what the numbers leave out.
    """

    origin: Origin | None
    result: Result | None = None
    adapter: Adapter | None = None
    merged: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    places: list[PlaceUpdate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: str | None = None

    @property
    def file(self) -> Path | None:
        return None if self.adapter is None else self.adapter.path

    @property
    def forgetting(self) -> Mapping[str, Any] | None:
        return None if self.result is None else self.result.forgetting


def inspect(run: str | Path, *, backbone: str | None = None, outputs: Path | None = None) -> Inspection:
    """Return what is in a run's adapter or in an adapter's file.

    The backbone is built without weights, from its folder's config or its YAML's sizes. Where neither is there,
    ``missing`` says why, and only what the file says is known.

    Args:
        backbone: its folder, if it is not where the run had it.

    Raises:
        KronaError: the run was not found or is not finished, or the file is damaged.
    """
    file, result = adapter_file(run), None
    if file is not None and not (file.parent / names.RESULT).is_file():
        origin = read_origin(AdapterConfig.read(file).notes, file)
    else:
        found = find(run, outputs=outputs)
        origin, file, result = found.origin, found.adapter, found.result
    if file is None:
        return Inspection(origin=origin, result=result, missing="the run trained nothing")
    adapter = Adapter.load(file, finite=False)
    known: dict[str, Any] = {
        "origin": origin,
        "result": result,
        "adapter": adapter,
        "merged": merged_runs(adapter.config.notes, file),
    }
    missing = "the file does not say which backbone it is for"
    if origin is not None:
        try:
            model = _rebuild(origin, adapter, backbone)
        except (OtherBackboneError, _NoConfigError) as error:
            missing = str(error)
        else:
            measured = {} if result is None or result.learned is None else result.learned["by_place"]
            places, notes = _places(model, measured)
            return Inspection(**known, parameters=_count_by_kind(model), places=places, notes=notes)
    heads = tuple(f"{name}." for name in adapter.config.insertion.get("head", ()))
    head = sum(tensor.numel() for name, tensor in adapter.tensors.items() if heads and name.startswith(heads))
    rest = sum(tensor.numel() for tensor in adapter.tensors.values()) - head
    parameters = {"branches and backbone weights": rest} | ({"head": head} if head else {})
    return Inspection(**known, parameters=parameters, missing=missing)


class _NoConfigError(KronaError):
    """The backbone's config was not found."""


def _rebuild(origin: Origin, adapter: Adapter, backbone: str | None) -> nn.Module:
    """Return the backbone on the meta device with the adapter in it, from the first config that fits."""
    last = KronaError("no config")
    for settings in _configs(origin.backbone_settings, backbone):
        try:
            model = meta_model(settings, origin.task_settings)
        except KronaError as error:
            last = _NoConfigError(str(error))
            continue
        try:
            adapter.insert(model, other_backbone=True)
            return model
        except OtherBackboneError as error:
            last = error
    raise last


def _configs(settings: Backbone, backbone: str | None) -> Iterator[Backbone]:
    if backbone is not None:
        yield replace(settings, path=backbone)
        return
    folder = find_folder(settings)
    if settings.sizes is not None and (folder is None or not folder.is_dir()):
        yield replace(settings, path=None, pretrained=False, tokenizer=None)  # from its sizes, without the network
    yield settings


def _count_by_kind(model: nn.Module) -> dict[str, int]:
    """Return how many parameters of each kind the adapter trains; a shared one is counted once."""
    adapter = model.__dict__["krona"].adapters["default"]
    heads = tuple(f"{name}." for name in adapter.insertion.get("head", ()))
    norms = tuple(f"{surgery.public_name(name)}." for name, m in model.named_modules() if is_norm(base_of(m)))
    found = dict.fromkeys(("branches", "normalisations", "other backbone weights", "head"), 0)
    for name, tensor in surgery.adapter_state(model, "default").items():
        if name not in adapter.trained:
            kind = "branches"
        elif heads and name.startswith(heads):
            kind = "head"
        else:
            kind = "normalisations" if name.startswith(norms) else "other backbone weights"
        found[kind] += tensor.numel()
    return {kind: count for kind, count in found.items() if count}


def _places(model: nn.Module, measured: Mapping[str, Mapping[str, Any]]) -> tuple[list[PlaceUpdate], list[str]]:
    """Return each place of the adapter, with what its run ``measured`` there, and notes on what the numbers omit."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    places, notes = [], dict[str, None]()
    for path, adapted in surgery.adapted_modules(model):
        name, own = surgery.public_name(path), dict(adapted.own_parameters("default"))
        found: Spectrum | None = None
        try:
            found = spectrum(adapted)
            notes |= dict.fromkeys(_omitted(adapted, own))
        except KronaError as error:
            notes[f"{error}: the norms of its tensors alone"] = None
        numbers = re.findall(r"(?<=\.)\d+(?=\.)", name)
        places.append(
            PlaceUpdate(
                name=name,
                kind=kind_of(name.removeprefix(prefix)),
                layer=int(numbers[0]) if numbers else None,
                widths=widths_at(adapted, "default"),
                placement=adapted.places["default"].placement,
                tensors={key: tuple(p.shape) for key, p in own.items()},
                tensor_norms={key: float(torch.linalg.vector_norm(p.double())) for key, p in own.items()},
                rank_bound=rank_of_branches(adapted, "default") if found is None else len(found.values),
                spectrum=found,
                drift=measured.get(name, {}).get("drift"),
            )
        )
    if not places:
        notes["no branches: what moved is the backbone's own weights, and by how much needs them as they were"] = None
    return places, list(notes)


def _omitted(adapted: Adapted, own: Mapping[str, Any]) -> Iterator[str]:
    """Yield notes on what the spectrum of a place leaves out."""
    if adapted.places["default"].placement != "parallel":
        yield "the update is M - I of a map M of the module's output or input; the weight moves by (M - I) W"
    if "default" in adapted.magnitudes:
        yield "the update is the branches'; the magnitude's rescaling needs the backbone's weights"
    if any(key.endswith("bias") for key in own):
        yield "biases are not in the update"


def kind_of(name: str) -> str:
    """Return a place's name without its numbers: ``encoder.block.0.layer.0.SelfAttention.q`` is ``encoder
    SelfAttention q``.
    """
    return " ".join(re.sub(r"[A-Za-z_]+\.\d+(\.|$)", "", name).split(".")) or name
