"""Share objects between the jobs of a process: a backbone's frozen weights, its tokenizer, and a task's rows.

Jobs only read what they share: the weights that a job trains are copies (`surgery.insert(reversible=True)`), and its
modules are its own. So a result does not depend on the other jobs.
"""

import copy
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from torch import nn

from krona.backbones import load
from krona.backbones.model_config import has_head, num_outputs
from krona.backbones.source import fingerprint
from krona.config.settings import Backbone
from krona.tasks import Task

Model = TypeVar("Model", bound=nn.Module)


@cache
def cache_for(kind: str) -> OrderedDict[Hashable, Any]:
    return OrderedDict()


def cached(kind: str, limit: int, key: Hashable, make: Callable[[], Any]) -> Any:
    """Return ``make()``, or its value if it is among the ``limit`` most recently used of this kind."""
    values = cache_for(kind)
    if key not in values:
        while len(values) >= limit:  # before the next one exists: two backbones may not fit into memory
            values.popitem(last=False)
        values[key] = make()
    values.move_to_end(key)
    return values[key]


def shared_backbone(settings: Backbone, task: Task, *, seed: int, bf16: bool) -> load.Loaded:
    """Return a backbone with its own modules, over weights that an earlier job of this process may have loaded."""
    content = fingerprint(settings)
    with_head = cached("has a head", 8, (content, settings.name), lambda: has_head(settings))
    key = (
        content,
        settings.name,
        json.dumps(dict(settings.sizes or {}), sort_keys=True),
        settings.tied_head,
        settings.pooling,
        None if settings.pretrained else seed,
        bf16,
        num_outputs(task) if with_head else None,
    )
    loaded: load.Loaded = cached("backbone", 1, key, lambda: load.load(settings, task, seed=seed, bf16=bf16))
    model = with_own_modules(loaded.model)
    load.draw_weights(model, loaded.new_weights, seed=seed)
    return replace(loaded, model=model, family=type(loaded.family)(task, loaded.tokenizer))


def with_own_modules(model: Model) -> Model:
    """Return a copy of the model whose parameters and buffers are new objects over the same memory."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad) for p in model.parameters()}
    memo |= {id(buffer): buffer.detach() for buffer in model.buffers()}
    return copy.deepcopy(model, memo)
