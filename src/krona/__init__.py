"""Compare parameter-efficient tuning methods on GLUE, with T5 or another backbone.

The experiments follow the KronA paper (Edalati et al.).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from krona.adapters.adapter import Adapter
    from krona.adapters.load import Prediction, Trained, load
    from krona.runs.frame import read_results
    from krona.surgery import bake, insert, merge, take_out

    __version__: str

__all__ = [
    "Adapter", "Prediction", "Trained", "__version__", "bake", "insert", "load", "merge", "read_results", "take_out"
]  # fmt: skip
_HOMES = {
    "krona.runs.frame": ("read_results",),
    "krona.surgery": ("bake", "insert", "merge", "take_out"),
    "krona.adapters.adapter": ("Adapter",),
    "krona.adapters.load": ("Prediction", "Trained", "load"),
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that `import krona` alone does not load torch."""
    if name == "__version__":
        from importlib.metadata import version

        return version("krona")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'krona' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
