"""Load a folder with the peft package, to compare its meaning there with the adapter of krona."""

import warnings
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from packaging.version import Version
from torch import nn

from krona.messages import KronaError, shorten

OLDEST = Version("0.21")  # krona's folders are tested with this version of peft


class NotComparedError(KronaError):
    """The error for a peft package that is missing, or too old for a folder."""


def load_with_peft(model: nn.Module, folder: Path) -> nn.Module:
    """Return a backbone with the adapter of a folder, as the peft package loads it. It changes the model's modules.

    Raises:
        NotComparedError: peft is not installed, or is older than `OLDEST` and cannot load the folder.
        KronaError: a newer peft cannot load the folder.
    """
    if find_spec("peft") is None:
        raise NotComparedError("peft is not installed.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import peft

            loaded: nn.Module = peft.PeftModel.from_pretrained(model, str(folder)).eval()
            return loaded
    except Exception as error:  # peft raises many kinds of exceptions
        installed = version("peft")
        reason = f"peft {installed} cannot load the folder: {type(error).__name__}: {shorten(error, 300)}"
        if Version(installed) < OLDEST:
            raise NotComparedError(f"{reason}. Use peft {OLDEST} or newer.") from error
        raise KronaError(reason) from error
