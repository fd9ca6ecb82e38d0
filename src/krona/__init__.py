"""krona: compare parameter-efficient tuning methods on GLUE, with T5 or another backbone (Edalati et al., KronA)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from krona.trained.load import Prediction, Trained, load

    __version__: str

_HOMES = {
    "Prediction": "krona.trained.load",
    "Trained": "krona.trained.load",
    "load": "krona.trained.load",
}

__all__ = ["Prediction", "Trained", "__version__", "load"]


def __getattr__(name: str) -> Any:  # on first use: `import krona` alone loads no torch
    if name == "__version__":
        from importlib.metadata import version

        return version("krona")
    if name not in _HOMES:
        raise AttributeError(f"module 'krona' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
