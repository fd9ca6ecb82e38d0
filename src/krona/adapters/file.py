"""Adapters as safetensors files: the weights that trained, and a header from which the adapter can be rebuilt.

The header's ``krona`` entry is JSON: the branch's class and arguments, the arguments of `surgery.insert`, and a
fingerprint of the backbone (`krona.adapters.fingerprint`). No frozen weight is stored.
"""

import importlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from krona.adapters.fingerprint import fingerprint, other_pooling, parameters, same_shapes, same_values
from krona.adapters.tensors import read_tensors, read_whole
from krona.files import Write, write_whole
from krona.messages import KronaError
from krona.surgery.insertion import activate, insert, take_out, trained_by
from krona.surgery.trainable import adapter_state, copy_into
from krona.surgery.wrapper import adapter_named, state_of

FORMAT = 1
METHODS = "krona.methods."  # whose classes a file may name
PARTS = ("branch_config", "insertion", "backbone")  # of the ``krona`` entry


class OtherBackboneError(KronaError):
    """An adapter's file and a model that is not the backbone it was trained on."""


def save_adapter(
    model: nn.Module,
    path: str | Path,
    *,
    name: str | None = None,
    notes: Mapping[str, str] | None = None,
    backbone: Mapping[str, Any] | None = None,
    write: Write = write_whole,
) -> None:
    """Write one adapter (None: the active one), whole or not at all, readable by all (mode 0644).

    Args:
        notes: further entries of the header, by name (a run's origin).
        backbone: its `backbone_fingerprint`, from before its weights were sharded over processes.
    """
    name = _named(model, name)
    tensors = {key: p.detach().cpu().contiguous() for key, p in adapter_state(model, name).items()}

    def fill(part: Path) -> None:
        try:
            save_file(tensors, part, metadata=_header(model, name, notes, backbone))
        except SafetensorError as error:
            raise KronaError(f"{path} could not be written: {error}") from error

    write(Path(path), fill)


def load_adapter(
    model: nn.Module,
    path: str | Path,
    *,
    name: str = "default",
    branch: Callable[..., nn.Module] | None = None,
    other_backbone: bool = False,
) -> dict[str, str]:
    """Rebuild an adapter from its file and make it the active one; returns the file's notes.

    Args:
        branch: the branch's class, needed where it is not one of `krona.methods`: no file has another module imported.
        other_backbone: accept a backbone of the same shape with other weights.

    Raises:
        KronaError: no adapter, a damaged file, another backbone or another shape. The model is untouched then.
    """
    path = Path(path)
    entry, notes = read_header(path)
    if branch is None and entry["branch"] is not None:
        branch = _class_at(entry["branch"], path)
    _check_backbone(model, branch, entry, path, other_backbone=other_backbone)
    tensors = read_tensors(path)
    before = state_of(model).active if "krona" in model.__dict__ else None
    insert(model, branch, name=name, **entry["insertion"], **entry["branch_config"])
    try:
        copy_into(adapter_state(model, name), tensors)
    except KronaError as error:
        take_out(model, name)
        if "krona" in model.__dict__:
            activate(model, before)
        raise KronaError(f"{path}: {error}") from error
    return notes


def load_on_meta(model: nn.Module, path: str | Path, *, branch: Callable[..., nn.Module] | None = None) -> None:
    """Rebuild an adapter on a backbone of the meta device, its own tensors from the file: ``delta()`` then works.

    Raises:
        OtherBackboneError: a model of another shape, which is untouched then.
        KronaError: a damaged file, a header or tensors that do not fit.
    """
    path = Path(path)
    entry, _ = read_header(path)
    if branch is None and entry["branch"] is not None:
        branch = _class_at(entry["branch"], path)
    tensors = read_tensors(path, finite=False)
    try:
        _check_backbone(model, branch, entry, path, other_backbone=True)
        insert(model, branch, **entry["insertion"], **entry["branch_config"])
        own = adapter_state(model, "default")
        copy_into(own, tensors)  # checks names and shapes
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise KronaError(f"{path}: its header's `krona` makes no sense: {type(error).__name__}: {error}") from error
    except OtherBackboneError:
        raise
    except KronaError as error:
        raise KronaError(f"{path}: {error}") from error
    loaded = {id(p): nn.Parameter(tensors[key], requires_grad=False) for key, p in own.items()}
    for module in model.modules():
        module._parameters.update({key: loaded[id(p)] for key, p in module._parameters.items() if id(p) in loaded})


def read_header(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The ``krona`` entry of an adapter's file, and its notes."""

    def metadata(file: Path) -> dict[str, str]:
        with safe_open(file, framework="pt") as opened:
            return dict(opened.metadata() or {})

    others = read_whole(Path(path), metadata)
    try:
        entry = json.loads(others.pop("krona"))
        notes = {**entry.pop("notes", {}), **others}
        found, branch, *parts = [entry[key] for key in ("format", "branch", *PARTS)]
        places = [parts[1].get(key, ()) for key in ("target_modules", "head")]
        parameters, *_ = [parts[2][key] for key in ("parameters", "shapes", "frozen")]
        if not all(isinstance(part, dict) for part in parts) or not all(map(_is_words, places)):
            raise TypeError
        if not (isinstance(branch, str | None) and isinstance(parameters, int) and _is_words([*notes.values()])):
            raise TypeError
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise KronaError(f"{path} is no adapter of this project: its header has no usable `krona` entry") from error
    if found != FORMAT:
        raise KronaError(f"{path} has format {found}, this version of krona reads {FORMAT}")
    return entry, notes


def _is_words(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)


def file_bytes(model: nn.Module, name: str | None = None) -> int:
    """Size of the file that `save_adapter` would write, without writing it (works on the meta device)."""
    name = _named(model, name)
    content: dict[str, Any] = {"__metadata__": _header(model, name)}
    offset = 0
    for key, p in sorted(adapter_state(model, name).items()):
        end = offset + p.numel() * p.element_size()
        content[key] = {"dtype": "F32", "shape": list(p.shape), "data_offsets": [offset, end]}
        offset = end
    length = len(json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + (length + 7) // 8 * 8 + offset


def backbone_fingerprint(model: nn.Module, name: str | None = None) -> dict[str, Any]:
    """The entry of an adapter's file that identifies its backbone; ``name``: the adapter, None: the active one."""
    return fingerprint(model, trained=set(adapter_named(model, _named(model, name)).trained))


def _header(
    model: nn.Module, name: str, notes: Mapping[str, str] | None = None, backbone: Mapping[str, Any] | None = None
) -> dict[str, str]:
    adapter = adapter_named(model, name)
    entry = {
        "format": FORMAT,
        "branch": None if adapter.branch is None else path_of(adapter.branch),
        "branch_config": adapter.branch_config,
        "insertion": adapter.insertion,
        "backbone": backbone_fingerprint(model, name) if backbone is None else dict(backbone),
    }
    entry |= {"notes": dict(notes)} if notes else {}
    return {"krona": json.dumps(entry, sort_keys=True)}  # one entry: safetensors writes several in random order


def _check_backbone(
    model: nn.Module, branch: Any, entry: Mapping[str, Any], path: Path, *, other_backbone: bool
) -> None:
    wanted = entry["backbone"]
    if (message := other_pooling(model, wanted)) is not None:
        raise OtherBackboneError(f"{path} was {message}")
    if not same_shapes(model, wanted):
        raise OtherBackboneError(
            f"{path} belongs to a backbone of another shape: {wanted['parameters']:,} parameters there, "
            f"{parameters(model):,} here, or other names. Load it into the backbone that it was trained on"
        )
    if other_backbone:
        return
    same = same_values(model, wanted, trained=set(trained_by(model, branch, entry["insertion"])))
    if same is None:
        raise KronaError(
            f"{path} has no mark of its backbone that the dtype of this model's weights can be compared with. Load the "
            "backbone in fp32, or pass other_backbone=True if it is the one that the adapter was trained on"
        )
    if not same:
        raise OtherBackboneError(
            f"{path} belongs to another backbone: the shapes are the same, the weights are not. Load the backbone that "
            "it was trained on, or pass other_backbone=True"
        )


def _named(model: nn.Module, name: str | None) -> str:
    name = state_of(model).active if name is None else name
    if name is None:
        raise KronaError("no adapter is active: give the name of one")
    return name


def path_of(branch: Callable[..., nn.Module]) -> str:
    """A branch's class as a file names it."""
    path = f"{getattr(branch, '__module__', '?')}.{getattr(branch, '__qualname__', '?')}"
    if "<" in path or path.endswith("?"):
        raise KronaError(f"{branch!r} can't be named in a file: use a class at the top of a module")
    return path


def _class_at(dotted: str, path: Path) -> Callable[..., nn.Module]:
    """The class that a file names: one of `krona.methods`, for no file may have a module of its choice imported."""
    module_name, _, attribute = str(dotted).rpartition(".")
    if not module_name.startswith(METHODS):
        raise KronaError(
            f"{path}: its branch {dotted} is no class of {METHODS.rstrip('.')}, and no other module is imported only "
            "because a file names it: pass the class as branch="
        )
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise KronaError(f"{path}: its branch {dotted} can't be imported ({error}); pass it as branch=") from error
    if not (isinstance(found, type) and issubclass(found, nn.Module) and found.__module__.startswith(METHODS)):
        raise KronaError(f"{path}: {dotted} is no branch of {METHODS.rstrip('.')}")
    return found
