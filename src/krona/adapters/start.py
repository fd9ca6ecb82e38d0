"""A start from weights that were trained before: ``init_from=RUN|FILE|PEFT_DIR`` (MNLI before RTE)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from krona import surgery
from krona.adapters.file import path_of, read_header
from krona.adapters.find import find
from krona.adapters.fingerprint import other_pooling, same_values
from krona.adapters.peft import read_peft
from krona.adapters.peft.folder import open_folder
from krona.adapters.peft.names import CONFIG, WEIGHTS
from krona.adapters.tensors import read_tensors
from krona.messages import KronaError, amount, first_few

FLAGS = ("train_layer_norms", "train_backbone", "head")  # which of the backbone's weights no mark covers
SHOWN = 3  # tensors that a note names


@dataclass(frozen=True)
class Start:
    """Trained tensors by name. branch: the class's path; branch_config: its arguments; name: where they are from.

    insertion, backbone: of krona's file, the arguments of `surgery.insert` and the backbone's mark.
    """

    name: str
    tensors: Mapping[str, Tensor]
    branch: str | None
    branch_config: Mapping[str, Any] = field(default_factory=dict)
    insertion: Mapping[str, Any] = field(default_factory=dict)
    backbone: Mapping[str, Any] = field(default_factory=dict)


def fingerprint(source: str) -> str:
    """Hash of the files that a start is read from, for the run's id; "absent" where there are none."""
    digest = hashlib.blake2b(digest_size=8)
    try:
        for file in _files(source):
            digest.update(file.read_bytes())
    except (OSError, KronaError):
        return "absent"
    return digest.hexdigest()


def require(source: str, branch: str | None) -> None:
    """Raise `KronaError` for a start that can't be read, or whose branches are of another class than ``branch``."""
    if (Path(source) / CONFIG).is_file():
        open_folder(Path(source))
    else:
        run_id, adapter = _adapter(source)
        _same_class(run_id, read_header(adapter)[0]["branch"], branch)


def read_start(source: str, model: nn.Module) -> Start:
    """The trained tensors of a run, an adapter's file or a peft folder; ``model``: the backbone, without an adapter."""
    if (Path(source) / CONFIG).is_file():
        from krona.backbones.shared import with_own_modules  # transformers: a run's id needs none

        copied = with_own_modules(model)
        read_peft(copied, source)
        adapter = copied.__dict__["krona"].adapters["default"]
        tensors = {name: p.detach().clone() for name, p in surgery.adapter_state(copied, "default").items()}
        branch = None if adapter.branch is None else path_of(adapter.branch)
        return Start(source, tensors, branch, adapter.branch_config)
    run_id, adapter = _adapter(source)
    entry, _ = read_header(adapter)
    return Start(
        run_id, read_tensors(adapter), entry["branch"], entry["branch_config"], entry["insertion"], entry["backbone"]
    )


def begin_from(model: nn.Module, start: Start) -> list[str]:
    """Copy what fits into what trains; notes on what does not.

    Raises:
        KronaError: another method, another backbone, or no tensor of the branches that fits. Nothing is copied then.
    """
    adapter = surgery.adapter_state(model, "default")
    inserted = model.__dict__["krona"].adapters["default"]
    own = path_of(inserted.branch) if inserted.branch else None
    what = f"init_from={start.name}"
    _same_class(start.name, start.branch, own)
    if start.backbone and (message := other_pooling(model, start.backbone)) is not None:
        raise KronaError(f"{what} was {message}")
    alike = all(start.insertion.get(flag, ()) == inserted.insertion.get(flag, ()) for flag in FLAGS)
    if start.backbone and alike and same_values(model, start.backbone, trained=set(inserted.trained)) is False:
        raise KronaError(f"{what} was trained on another backbone: its weights are not those of this one")
    fits = {name for name, value in start.tensors.items() if name in adapter and adapter[name].shape == value.shape}
    branches = adapter.keys() - inserted.trained.keys()
    if not fits or (branches and not branches & fits):
        of = "branches' tensors" if branches else "tensors"
        raise KronaError(f"{what}: none of this run's {len(branches or adapter):,} {of} is there in its shape")
    for name in fits:
        adapter[name].data.copy_(start.tensors[name])
    return [f"{what}: {line}" for line in _differences(adapter, start, fits, inserted.branch_config)]


def _same_class(name: str, theirs: str | None, ours: str | None) -> None:
    if theirs is not None and ours is not None and theirs != ours:
        kinds = [path.rpartition(".")[2] for path in (theirs, ours)]
        raise KronaError(
            f"init_from={name}: its branches are {kinds[0]}, this run's are {kinds[1]}: take a run of the same method"
        )


def _differences(
    adapter: Mapping[str, Tensor], start: Start, fits: set[str], branch_config: Mapping[str, Any]
) -> list[str]:
    lines = [f"begins with {len(fits)} of {amount(len(adapter), 'tensor')}"]
    fresh = [
        f"{name} {tuple(value.shape)}, there {tuple(start.tensors[name].shape)}" if name in start.tensors else name
        for name, value in adapter.items()
        if name not in fits
    ]
    if fresh:
        lines[0] += f"; as drawn: {'; '.join(first_few(fresh, SHOWN))}"
    if left := sorted(start.tensors.keys() - adapter.keys()):
        lines.append(f"{amount(len(left), 'tensor')} of it have no place here: {'; '.join(first_few(left, SHOWN))}")
    other = [
        f"{key} {value} there, {branch_config[key]} here"
        for key, value in start.branch_config.items()
        if key in branch_config and branch_config[key] != value
    ]
    return lines + ([f"trained with other settings: {', '.join(other)}"] if other else [])


def _files(source: str) -> list[Path]:
    folder = Path(source)
    return [folder / CONFIG, folder / WEIGHTS] if (folder / CONFIG).is_file() else [_adapter(source)[1]]


def _adapter(source: str) -> tuple[str, Path]:
    """A run's id and its adapter. Raises KronaError where there is none."""
    found = find(source)
    if found.adapter is None:
        raise KronaError(f"init_from={source}: {found.origin.run_id} trained nothing")
    return found.origin.run_id, found.adapter
