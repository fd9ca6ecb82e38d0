"""krona: compare parameter-efficient tuning methods on GLUE, with T5 or another backbone (Edalati et al., KronA)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from krona.trained.load import Prediction, Trained, load

__all__ = ["Prediction", "Trained", "load"]


def __getattr__(name: str) -> Any:  # on first use: `import krona` alone loads no torch
    if name not in __all__:
        raise AttributeError(f"module 'krona' has no attribute {name!r}")
    from krona.trained import load as module

    return getattr(module, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
