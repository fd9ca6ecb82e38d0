"""Copy the trained weights of a run or an adapter file into a new run (``init_from``)."""

import hashlib
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import nn

from krona.adapters.adapter import Adapter, AdapterConfig
from krona.adapters.find import find
from krona.adapters.fingerprint import has_values, require_form
from krona.messages import KronaError, first_few, join_names, plural
from krona.surgery.state import get_adapter

FLAGS = ("train_layer_norms", "train_backbone", "head")  # the options that select the trained backbone weights
NAMED = 3  # the maximum number of tensors that a note lists


@dataclass(frozen=True)
class InitialWeights:
    """The initial weights of a run, which are copied from a run or an adapter file."""

    source: str  # the value of init_from

    @cached_property
    def located(self) -> tuple[str, Path]:
        """The name of the source, and its adapter file.

        Raises:
            KronaError: the source was not found, is not finished, or trained nothing.
        """
        trained = find(self.source)
        if trained.adapter is None:
            raise KronaError(
                f"init_from={self.source} cannot be used, because {trained.origin.run_id} trained nothing."
            )
        return trained.origin.run_id, trained.adapter

    def hash(self) -> str:
        """Return a hash of the source's files for the run id, or "absent" if the files were not found."""
        digest = hashlib.blake2b(digest_size=8)
        try:
            _, path = self.located
            digest.update(path.read_bytes())
        except (OSError, KronaError):
            return "absent"
        return digest.hexdigest()

    def require(self, branch: str | None) -> None:
        """Check the source's files and branch class.

        Raises:
            KronaError: the files cannot be read, or the class of the source's branches is not ``branch``.
        """
        name, path = self.located
        _require_class(name, source=AdapterConfig.read(path).branch, target=branch)

    def copy_into(self, model: nn.Module, target: Adapter) -> list[str]:
        """Copy the source's tensors to the parameters of ``target`` that have the same names and shapes.

        Args:
            target: the adapter in the model.

        Returns:
            Notes about parameters that keep their initial values, and about unused tensors.

        Raises:
            KronaError: the source has another method or another backbone, its branches have tensors that this run's
                branches lack, or none of its tensors has the name and shape of a branch tensor. Nothing is then copied.
        """
        name, path = self.located
        source = Adapter.load(path)
        label = f"init_from={name}"
        _require_class(name, source=source.config.branch, target=target.config.branch)
        backbone, source_backbone = target.config.backbone, source.config.backbone
        if backbone is not None and source_backbone is not None:
            require_form(backbone, source_backbone, label)
            flags = [[config.insertion.get(flag, ()) for flag in FLAGS] for config in (target.config, source.config)]
            if flags[0] == flags[1] and not has_values(backbone, source_backbone):
                raise KronaError(
                    f"{label} was trained on another backbone, whose weights have other values. Use the source's "
                    "backbone."
                )
        fits = {
            key: value
            for key, value in source.tensors.items()
            if key in target.tensors and target.tensors[key].shape == value.shape
        }
        branches = target.tensors.keys() - get_adapter(model).trained.keys()
        if not fits or (branches and not branches & fits.keys()):
            kind = plural(len(branches), "branch tensor") if branches else plural(len(target.tensors), "tensor")
            raise KronaError(f"None of this run's {kind} has the same name and shape as a tensor in {label}.")
        _require_whole_branches(label, target, source, branches & fits.keys())
        for key, value in fits.items():
            target.tensors[key].copy_(value)
        get_adapter(model).prepared = True
        return [f"{label}: {line}" for line in _differences(target, source, fits)]


def _require_class(name: str, *, source: str | None, target: str | None) -> None:
    if source is not None and target is not None and source != target:
        kinds = [path.rpartition(".")[2] for path in (source, target)]
        raise KronaError(
            f"The branches of init_from={name} are {kinds[0]}, but those of this run are {kinds[1]}. Use a source with "
            "the method of this run."
        )


def _require_whole_branches(label: str, target: Adapter, source: Adapter, copied: Iterable[str]) -> None:
    """Check that no tensor of a copied branch is left out, because the branch would then compute another update.

    Raises:
        KronaError: a tensor is left out, such as A₀ of PiSSA.
    """
    modules = {key.rpartition(".")[0] for key in copied}
    left_out = [key for key in source.tensors if key.rpartition(".")[0] in modules and key not in target.tensors]
    if left_out:
        names = dict.fromkeys(key.rpartition(".")[2] for key in left_out)
        own_settings = target.config.branch_config
        settings = [
            f"method.{key}={value}"
            for key, value in source.config.branch_config.items()
            if own_settings.get(key) != value
        ]
        raise KronaError(
            f"The update of {label} also consists of {join_names([*names])}, which this run does not have. Set "
            f"{' '.join(settings)}, as in the source."
        )


def _differences(target: Adapter, source: Adapter, fits: Container[str]) -> list[str]:
    shapes = {name: f" instead of {tuple(value.shape)}" for name, value in source.tensors.items()}
    new = [
        f"{name} {tuple(value.shape)}{shapes[name]}" if name in shapes else name
        for name, value in target.tensors.items()
        if name not in fits
    ]
    lines = [f"copied {len(target.tensors) - len(new)} of {plural(len(target.tensors), 'tensor')}"]
    if new:
        lines[0] += f"; these keep their initial values: {'; '.join(first_few(new, NAMED))}"
    if unused := sorted(source.tensors.keys() - target.tensors.keys()):
        lines.append(
            f"this run does not use {plural(len(unused), 'tensor')} of the source: "
            f"{'; '.join(first_few(unused, NAMED))}"
        )
    own_settings = target.config.branch_config
    other = [
        f"{key} {value} instead of {own_settings[key]}"
        for key, value in source.config.branch_config.items()
        if key in own_settings and own_settings[key] != value
    ]
    return lines + ([f"the source was trained with other settings: {', '.join(other)}"] if other else [])
