"""Load a folder with the peft package, to compare its meaning there with the adapter of krona."""

import warnings
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from krona.messages import KronaError, shorten


def load_with_peft(model: nn.Module, folder: Path) -> nn.Module | None:
    """Return a backbone with the adapter of a folder, as the peft package loads it. Return None without this package.

    The modules of ``model`` are changed, but its weights are not.

    Raises:
        KronaError: peft cannot load the folder.
    """
    if find_spec("peft") is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import peft

            return peft.PeftModel.from_pretrained(model, str(folder)).eval()
    except Exception as error:  # peft raises many kinds of exceptions
        reason = f"{type(error).__name__}: {shorten(error, 300)}"
        raise KronaError(f"The installed version of peft cannot load {folder}: {reason}") from error
