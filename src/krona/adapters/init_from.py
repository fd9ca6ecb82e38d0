"""Copy the trained weights of a run or an adapter file into a new run (``init_from``)."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import nn

from krona.adapters.adapter_file import Adapter, AdapterConfig
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
        try:
            _, path = self.located
            return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
        except (OSError, KronaError):
            return "absent"

    def require(self, branch: str | None) -> None:
        """Check the source's files and branch class.

        Raises:
            KronaError: the files cannot be read, or the class of the source's branches is not ``branch``.
        """
        name, path = self.located
        source = AdapterConfig.read(path).branch
        if source is not None and branch is not None and source != branch:
            kinds = [path.rpartition(".")[2] for path in (source, branch)]
            raise KronaError(
                f"The branches of init_from={name} are {kinds[0]}, but those of this run are {kinds[1]}. Use a source "
                "with the method of this run."
            )

    def copy_into(self, model: nn.Module, target: Adapter) -> str:
        """Copy the source's tensors to the parameters of ``target`` that have the same names and shapes.

        Args:
            target: the adapter in the model.

        Returns:
            A note about the parameters that keep their initial values.

        Raises:
            KronaError: the source has another backbone, its branches have tensors that this run's branches lack, or
                none of its tensors has the name and shape of a branch tensor. Nothing is then copied.
        """
        name, path = self.located
        source = Adapter.load(path)
        label = f"init_from={name}"
        require_form(target.config.backbone, source.config.backbone, label)
        flags = [[config.insertion.get(flag, ()) for flag in FLAGS] for config in (target.config, source.config)]
        if flags[0] == flags[1] and not has_values(target.config.backbone, source.config.backbone):
            raise KronaError(
                f"{label} was trained on another backbone, whose weights have other values. Use the source's backbone."
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
        modules = {key.rpartition(".")[0] for key in branches & fits.keys()}
        left_out = [key for key in source.tensors if key.rpartition(".")[0] in modules and key not in target.tensors]
        if left_out:  # the branch would then compute another update
            names = join_names([*dict.fromkeys(key.rpartition(".")[2] for key in left_out)])
            raise KronaError(
                f"The update of {label} also consists of {names}, which this run does not have. Use the arguments of "
                "the source's method."
            )
        for key, value in fits.items():
            target.tensors[key].copy_(value)
        get_adapter(model).prepared = True
        note = f"{label}: copied {len(fits)} of {plural(len(target.tensors), 'tensor')}"
        if new := [name for name in target.tensors if name not in fits]:
            note += f"; these keep their initial values: {'; '.join(first_few(new, NAMED))}"
        return note
