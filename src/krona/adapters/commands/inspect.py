"""`krona inspect`: what is in a run's adapter, read without the backbone's weights."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from krona import surgery
from krona.adapters.file import OtherBackboneError, load_on_meta, read_header
from krona.adapters.find import ADAPTER, find
from krona.adapters.load import branch_of
from krona.adapters.origin import Origin, origin_noted
from krona.adapters.spectra import Spectrum, spectrum_at
from krona.adapters.tensors import read_tensors
from krona.backbones.load import meta_model
from krona.backbones.source import find_folder
from krona.config.settings import Backbone
from krona.messages import KronaError
from krona.outputs import names
from krona.outputs.result import Result
from krona.surgery.layers import is_norm
from krona.surgery.targets import widths_at
from krona.surgery.trainable import rank_of_branches
from krona.surgery.wrapper import Adapted, base_of

MERGED = "krona_merge"  # the header's entry of a file that `krona merge` wrote


@dataclass(frozen=True, kw_only=True)
class Place:
    """One place's update. kind: the place's name without its numbers; layer: the first of them.

    tensors: name → shape; tensor_norms: name → Frobenius norm. spectrum: None where the update is no matrix. drift: as
    the run measured it (`krona.adapters.learned`).
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
    """What is known of an adapter. origin: None of a file that does not say it. header: its ``krona`` entry.

    parameters: how many train, by kind. missing: why the places are not known. notes: what the numbers leave out.
    forgetting: of the run's result.
    """

    origin: Origin | None
    file: Path | None = None
    size: int = 0
    header: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ()
    merged: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: str | None = None
    forgetting: Mapping[str, Any] | None = None


def inspect(run: str | Path, *, backbone: str | None = None, outputs: Path | None = None) -> Inspection:
    """What is in a run's adapter or in an adapter's file.

    The backbone is built without weights, from its folder's config or its YAML's sizes. Where neither can be had,
    ``missing`` says why, and what the file alone says is there.

    Args:
        backbone: its folder, if it is not where the run had it.

    Raises:
        KronaError: no such run, an unfinished one, a damaged or forged file.
    """
    origin, file, result, missing = _origin(run, outputs)
    forgetting = None if result is None else result.forgetting
    if file is None:
        return Inspection(origin=origin, missing=missing, forgetting=forgetting)
    entry, notes = read_header(file)
    tensors = read_tensors(file, finite=False)
    known: dict[str, Any] = {
        "origin": origin,
        "file": file,
        "size": file.stat().st_size,
        "header": entry,
        "tensors": {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        "dtypes": tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})),
        "merged": merged_of(notes, file),
        "forgetting": forgetting,
    }
    if origin is not None:
        try:
            model = _rebuilt(origin, file, backbone)
        except (OtherBackboneError, _NoConfigError) as error:
            missing = str(error)
        else:
            measured = {} if result is None or result.learned is None else result.learned["by_place"]
            places, said = _places(model, measured)
            return Inspection(**known, parameters=_by_kind(model), places=places, notes=said)
    return Inspection(**known, parameters=_by_name(tensors, entry), missing=missing)


class _NoConfigError(KronaError):
    """No config of the backbone."""


def _origin(run: str | Path, outputs: Path | None) -> tuple[Origin | None, Path | None, Result | None, str | None]:
    """The origin, the adapter's file, the run's result, and why there is no more to be known of it."""
    path = Path(run)
    file = path / ADAPTER if path.is_dir() and not (path / names.RESULT).is_file() else path
    if file.is_file() and file.name != names.RESULT and not (file.parent / names.RESULT).is_file():
        origin = origin_noted(read_header(file)[1], file)
        return origin, file, None, "the file does not say which backbone it is for" if origin is None else None
    found = find(run, outputs=outputs)
    return found.origin, found.adapter, found.result, "the run trained nothing" if found.adapter is None else None


def merged_of(notes: Mapping[str, str], file: Path) -> dict[str, float]:
    """Run → weight, of a file that `krona merge` wrote; empty for others."""
    try:
        return {str(run): float(weight) for run, weight in json.loads(notes.get(MERGED, "{}")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise KronaError(f"{file}: its header's `{MERGED}` makes no sense: {error}") from error


def _rebuilt(origin: Origin, file: Path, backbone: str | None) -> nn.Module:
    """The backbone on the meta device with the adapter in it, from the first config that fits."""
    branch, last = branch_of(file), KronaError("no config")
    for settings in _configs(origin.backbone_settings, backbone):
        try:
            model = meta_model(settings, origin.task_settings)
        except KronaError as error:
            last = _NoConfigError(str(error))
            continue
        try:
            load_on_meta(model, file, branch=branch)
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
        yield replace(settings, path=None, pretrained=False, tokenizer=None)  # of its sizes: no network
    yield settings


def _by_kind(model: nn.Module) -> dict[str, int]:
    """How many parameters of each kind the adapter trains; a shared one is counted once."""
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


def _by_name(tensors: Mapping[str, Tensor], entry: Mapping[str, Any]) -> dict[str, int]:
    """The same from the file alone: its names tell only the head from the rest."""
    insertion = entry["insertion"] if isinstance(entry["insertion"], dict) else {}
    heads = tuple(f"{name}." for name in insertion.get("head", ()))
    head = sum(tensor.numel() for name, tensor in tensors.items() if heads and name.startswith(heads))
    rest = sum(tensor.numel() for tensor in tensors.values()) - head
    return {"branches and backbone weights": rest} | ({"head": head} if head else {})


def _places(model: nn.Module, measured: Mapping[str, Mapping[str, Any]]) -> tuple[list[Place], list[str]]:
    """Each place of the adapter, with what its run ``measured`` there, and notes on what the numbers leave out."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    places, notes = [], dict[str, None]()
    for path, adapted in surgery.adapted_modules(model):
        name = surgery.public_name(path)
        own = dict(adapted.own_parameters("default"))
        spectrum, why = _spectrum(adapted)
        if why:
            notes[f"{why}: the norms of its tensors alone"] = None
        if adapted.places["default"].placement != "parallel" and spectrum is not None:
            notes["the update is M - I of a map M of the module's output or input; the weight moves by (M - I) W"] = (
                None
            )
        if "default" in adapted.magnitudes:
            notes["the update is the branches'; the magnitude's rescaling needs the backbone's weights"] = None
        if spectrum is not None and any(key.endswith("bias") for key in own):
            notes["biases are not in the update"] = None
        numbers = re.findall(r"(?<=\.)\d+(?=\.)", name)
        places.append(
            Place(
                name=name,
                kind=kind_of(name.removeprefix(prefix)),
                layer=int(numbers[0]) if numbers else None,
                widths=widths_at(adapted, "default"),
                placement=adapted.places["default"].placement,
                tensors={key: tuple(p.shape) for key, p in own.items()},
                tensor_norms={key: float(torch.linalg.vector_norm(p.double())) for key, p in own.items()},
                rank_bound=rank_of_branches(adapted, "default") if spectrum is None else len(spectrum.values),
                spectrum=spectrum,
                drift=measured.get(name, {}).get("drift"),
            )
        )
    if not places:
        notes["no branches: what moved is the backbone's own weights, and by how much needs them as they were"] = None
    return places, list(notes)


def _spectrum(adapted: Adapted) -> tuple[Spectrum | None, str | None]:
    try:
        return spectrum_at(adapted), None
    except KronaError as error:
        return None, str(error)


def kind_of(name: str) -> str:
    """``encoder.block.0.layer.0.SelfAttention.q`` is ``encoder SelfAttention q``."""
    return " ".join(re.sub(r"[A-Za-z_]+\.\d+(\.|$)", "", name).split(".")) or name
