"""Share a backbone's frozen weights and its tokenizer between the runs of a process.

Runs do not change the shared objects. Each run has its own modules, and the weights that it trains are copies
(`surgery.insert(reversible=True)`). The result of a run therefore does not depend on other runs.
"""

import copy
from dataclasses import replace
from typing import Any, TypeVar

from torch import nn

from krona.backbones import load
from krona.backbones.model_config import num_outputs
from krona.backbones.weights_source import fingerprint
from krona.config.settings import Backbone
from krona.recent_values import RecentValues
from krona.tasks import Task

Model = TypeVar("Model", bound=nn.Module)
BACKBONES: RecentValues[load.Loaded] = RecentValues(1)


def shared_backbone(settings: Backbone, task: Task, *, seed: int, bf16: bool) -> load.Loaded:
    """Return a backbone with new modules, whose weights are shared with the other runs of this process.

    The weights are loaded only if the previous run used another backbone, or if the weights are quantised. The new
    weights of a head are not shared.
    """
    if settings.quantisation is not None:  # `with_own_modules` would drop the quantisation state of 4-bit weights
        return load.load(settings, task, seed=seed, bf16=bf16)
    content = repr(replace(settings, factor_shapes={}, learning_rates=None))
    key = (fingerprint(settings), content, None if settings.pretrained else seed, bf16, task.is_multilabel)
    if key in BACKBONES and not BACKBONES[key].has_outputs(num_outputs(task)):
        del BACKBONES[key]  # the cached model has the head of another task
    loaded = BACKBONES.get_or_make(key, lambda: load.load(settings, task, seed=seed, bf16=bf16))
    model = with_own_modules(loaded.model)
    load.init_new_weights(model, loaded.new_weights, seed=seed)
    return replace(loaded, model=model, family=type(loaded.family)(task, loaded.family.tokenizer))


def with_own_modules(model: Model) -> Model:
    """Return a copy of the model. Its parameters and buffers are new objects that use the same memory."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad) for p in model.parameters()}
    memo |= {id(buffer): buffer.detach() for buffer in model.buffers()}
    return copy.deepcopy(model, memo)
