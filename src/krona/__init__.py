"""Compare parameter-efficient tuning methods on GLUE, with T5 or another backbone.

The experiments follow the KronA paper (Edalati et al.).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from krona.adapters.adapter_file import Adapter
    from krona.adapters.predictor import Prediction
    from krona.adapters.trained import Trained, load
    from krona.messages import KronaError
    from krona.runs.frame import read_results as results
    from krona.surgery import bake, insert, merge, take_out
    from krona.training.in_python import train

    __version__: str

__all__ = [
    "Adapter", "KronaError", "Prediction", "Trained", "__version__", "bake", "insert", "load", "merge", "results",
    "take_out", "train",
]  # fmt: skip
_HOMES = {  # maps each public name to its module and its name in this module
    "__version__": ("krona.paths", "VERSION"),
    "Adapter": ("krona.adapters.adapter_file", "Adapter"),
    "KronaError": ("krona.messages", "KronaError"),
    "Prediction": ("krona.adapters.predictor", "Prediction"),
    "Trained": ("krona.adapters.trained", "Trained"),
    "bake": ("krona.surgery", "bake"),
    "insert": ("krona.surgery", "insert"),
    "load": ("krona.adapters.trained", "load"),
    "merge": ("krona.surgery", "merge"),
    "results": ("krona.runs.frame", "read_results"),
    "take_out": ("krona.surgery", "take_out"),
    "train": ("krona.training.in_python", "train"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that `import krona` does not load torch."""
    if name in _HOMES:
        home, attribute = _HOMES[name]
        return getattr(import_module(home), attribute)
    raise AttributeError(f"module 'krona' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
