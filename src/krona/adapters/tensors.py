"""Tensors of a safetensors file, checked: the file is whole, and every value is a finite floating-point number."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from krona.messages import KronaError, shortened

FLOATS = (torch.float32, torch.bfloat16, torch.float16)  # what krona trains in


def read_tensors(path: Path, *, finite: bool = True) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises KronaError for a damaged file, another dtype, NaN or an infinite value.

    ``finite=False`` lets the last two through, for who looks at what is wrong with it.
    """
    tensors: dict[str, Tensor] = read_whole(path, load_file)
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise KronaError(
                f"{path} is damaged: {shortened(name)} is {kind}, weights are float32, bfloat16 or float16"
            )
        if finite and not bool(torch.isfinite(tensor).all()):
            wrong = int((~torch.isfinite(tensor)).sum())
            which = f"{wrong:,} of the {tensor.numel():,} values of {shortened(name)}"
            raise KronaError(f"{path} is damaged: {which} are NaN or infinite")
    return tensors


def read_whole(path: Path, read: Callable[[Path], Any]) -> Any:
    """What ``read`` makes of a safetensors file. Raises KronaError where it is gone or can't be read."""
    try:
        return read(path)
    except FileNotFoundError as error:
        raise KronaError(f"{path} is not there") from error
    except (OSError, SafetensorError) as error:
        raise KronaError(f"{path} can't be read as safetensors: {error}") from error
