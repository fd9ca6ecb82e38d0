"""Save an adapter to a file, load it, and insert it into a backbone.

    Adapter.of(model).save("adapter.safetensors")  # the model contains branches
    Adapter.load("adapter.safetensors").insert(model)  # the model is the backbone that the adapter was trained on

An adapter consists of the tensors of branches (small modules that a method adds to a model) and other trained weights.
An adapter file is a safetensors file with these tensors, but without the backbone's frozen weights. The entry ``krona``
of the file's header contains an `AdapterConfig` as JSON.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from krona.adapters.fingerprint import Fingerprint, require_backbone, take_fingerprint
from krona.config.target_classes import find_class
from krona.messages import KronaError, format_validation_error, shorten
from krona.methods.branch import Branch
from krona.safe_files import Write, write_whole
from krona.surgery.insertion import insert, take_out
from krona.surgery.state import adapter_state, get_adapter, load_adapter_state, trained_names

FORMAT: Literal[1] = 1


class AdapterConfig(BaseModel):
    """The settings of an adapter, which are saved in the header of its file."""

    model_config = ConfigDict(strict=True, frozen=True)

    format: Literal[1]  # the version of the file format
    branch: str | None  # the dotted path of the branch class, or None for an adapter without branches
    branch_config: dict[str, Any]  # the arguments of the branch class
    insertion: dict[str, Any]  # the options of `surgery.insert`, such as ``target_modules``
    backbone: Fingerprint
    notes: dict[str, str] = Field(default_factory=dict)  # other texts, such as the origin (`krona.adapters.find`)

    @classmethod
    def read(cls, path: str | Path) -> "AdapterConfig":
        """Read the config from the header of an adapter file.

        Raises:
            KronaError: the file is missing or is not a safetensors file, or its header has no valid ``krona`` entry.
        """
        with open_safetensors(Path(path)) as file:
            entry = (file.metadata() or {}).get("krona", "null")
        try:
            return cls.model_validate_json(entry)
        except ValidationError as error:
            raise KronaError(
                f"{path} is not an adapter of this version of krona, because its header has no valid `krona` entry: "
                f"{format_validation_error(error)}"
            ) from error

    def as_metadata(self) -> dict[str, str]:
        """Return the config as the metadata of a safetensors file."""
        entry = self.model_dump(exclude_defaults=True)
        # use a single entry, because safetensors writes several entries in random order
        return {"krona": json.dumps(entry, sort_keys=True)}


@dataclass(frozen=True)
class Adapter:
    """An adapter's config, and its trained tensors by public name (`krona.surgery.public_name`)."""

    config: AdapterConfig
    tensors: Mapping[str, Tensor]
    path: Path | None = None  # the file or folder from which the tensors were read

    @classmethod
    def of(
        cls,
        model: nn.Module,
        *,
        notes: Mapping[str, str] | None = None,
        backbone: Fingerprint | None = None,
    ) -> "Adapter":
        """Return the adapter of a model. The adapter's tensors share memory with the model's parameters.

        Args:
            notes: other texts for the file's header.
            backbone: the fingerprint of the backbone. If None, the fingerprint is computed from the model.
        """
        inserted = get_adapter(model)
        tensors = {key: p.detach() for key, p in adapter_state(model).items()}
        config = AdapterConfig(
            format=FORMAT,
            branch=class_path(inserted.branch),
            branch_config=inserted.branch_config,
            insertion=inserted.options,
            backbone=backbone or take_fingerprint(model, trained=inserted.trained),
            notes=dict(notes or {}),
        )
        return cls(config, tensors)

    @classmethod
    def load(cls, path: str | Path) -> "Adapter":
        """Read an adapter from a file.

        Raises:
            KronaError: the file is missing, damaged or not an adapter file, or contains NaN or infinite values.
        """
        path = Path(path)
        config = AdapterConfig.read(path)
        with open_safetensors(path) as file:
            tensors = file.get_tensors()
        for name, tensor in tensors.items():
            if wrong := int((~torch.isfinite(tensor)).sum()):
                values = f"{wrong:,} of the {tensor.numel():,} values of {shorten(name)}"
                raise KronaError(f"{path} is damaged. {values} are NaN or infinite.")
        return cls(config, tensors, path)

    def save(self, path: str | Path, *, write: Write = write_whole) -> None:
        """Write the adapter atomically to a file."""
        tensors = {key: tensor.cpu().contiguous() for key, tensor in self.tensors.items()}
        write(Path(path), lambda part: save_file(tensors, part, metadata=self.config.as_metadata()))

    def insert(
        self,
        model: nn.Module,
        *,
        branch: type[Branch] | None = None,
        other_backbone: bool = False,
    ) -> None:
        """Insert the adapter into its backbone.

        Args:
            branch: the class of the branches. None means the class that the adapter's config names. krona imports the
                named class only if the class is in `krona.methods` or if a YAML file in conf/ also names the class.
            other_backbone: accept a backbone whose weights have the same shapes but different values.

        Raises:
            OtherBackboneError: the model is not the adapter's backbone.
            KronaError: the class is not allowed, `surgery.insert` raises an error for the adapter's config, or the
                names or shapes of the tensors do not match the config. The model is then unchanged.
        """
        config, label = self.config, self.path or "The adapter"
        if branch is None and config.branch is not None:
            branch = find_class(config.branch, f"{label}: its branch", "branch", own=False)
        try:
            trained = trained_names(model, branch, config.insertion)
            require_backbone(model, config.backbone, self.path, trained=trained, any_values=other_backbone)
            insert(model, branch, **config.insertion, **config.branch_config)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise KronaError(f"{label} has invalid arguments: {type(error).__name__}: {error}") from error
        try:
            load_adapter_state(model, self.tensors)
        except KronaError as error:
            take_out(model)
            raise KronaError(f"{label}: {error}") from error


def class_path(branch: type[Branch] | None) -> str | None:
    """Return the dotted path of a branch class, or None without a class.

    Raises:
        KronaError: the class is not defined at the top level of a module.
    """
    if branch is None:
        return None
    path = f"{branch.__module__}.{branch.__qualname__}"
    if "<" in path:
        raise KronaError(f"The class {branch!r} has no dotted path. Define it at the top level of a module.")
    return path


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file.

    Raises:
        KronaError: the file is missing or is not a valid safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            yield opened
    except FileNotFoundError as error:
        raise KronaError(f"{path} was not found.") from error
    except (OSError, SafetensorError) as error:
        raise KronaError(f"{path} cannot be read as a safetensors file: {error}") from error
