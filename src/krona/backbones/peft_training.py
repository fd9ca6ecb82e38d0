"""Apply a type's term of the loss and its allocation of ranks in each training step (peft's AdaLoRA)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from krona.backbones.peft_config import NAME


class PeftTrainingHook:
    """Add a type's term to the loss, and let the type allocate ranks after each step (AdaLoRA)."""

    def __init__(self, tuner: Any) -> None:
        self.tuner = tuner

    @classmethod
    def is_needed(cls, tuner: Any) -> bool:
        """Return whether a type has a term of the loss or an allocation of ranks."""
        from peft.tuners.tuners_utils import BaseTuner

        return type(tuner).forward is not BaseTuner.forward or hasattr(tuner, "update_and_allocate")

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return the type's term of the loss, or None."""
        from peft.tuners.tuners_utils import BaseTuner

        if type(self.tuner).forward is BaseTuner.forward:
            return None
        first = next(p for p in model.parameters() if p.requires_grad)
        zero = torch.zeros((), device=first.device, dtype=torch.promote_types(first.dtype, torch.float32))
        # peft adds the term to the loss in the model's output
        output: Any = SimpleNamespace(loss=zero)
        with self._model(SimpleNamespace(forward=lambda: output, named_parameters=model.named_parameters)):
            self.tuner.forward()
        penalty: Tensor = output.loss
        return penalty

    def after_step(self, model: nn.Module, step: int) -> None:
        """Let peft allocate ranks after the optimizer's step number ``step``, counted from 0."""
        if hasattr(self.tuner, "update_and_allocate"):
            with self._model(model):
                self.tuner.update_and_allocate(step)

    @contextmanager
    def _model(self, model: Any) -> Iterator[None]:
        self.tuner.__dict__["model"] = model  # only during a call, because the model refers to this object
        try:
            yield
        finally:
            del self.tuner.__dict__["model"]

    def state_dict(self) -> dict[str, Any]:
        """Return the values that the next steps depend on, such as the importance of each rank."""
        return {
            name: {k: v for k, v in vars(value).items() if _is_plain(v)}
            for name, value in self._stateful_objects().items()
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        for name, value in self._stateful_objects().items():
            vars(value).update(state[name])

    def _stateful_objects(self) -> dict[str, Any]:
        """Return the tuner's config, and peft's objects in the tuner, such as the allocator of ranks."""
        inner = {k: v for k, v in vars(self.tuner).items() if type(v).__module__.startswith("peft.tuners")}
        return {"config": self.tuner.peft_config[NAME], **inner}


def _is_plain(value: Any) -> bool:
    """Return whether a checkpoint can contain the value."""
    if isinstance(value, dict | list):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or type(value) in (bool, int, float, str, Tensor)
