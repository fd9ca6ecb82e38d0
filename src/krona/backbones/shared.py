"""Objects shared by the jobs of one process: a backbone's frozen weights, its tokenizer, and a task's rows.

Nothing that a job writes is shared: the weights that it trains are copies (`surgery.insert(reversible=True)`), its
modules are its own, frozen weights, rows and tokenizer are only read. So a result does not depend on the other jobs.
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
    """``make()``, or its value if it is among the last ``limit`` of this kind that this process used."""
    values = cache_for(kind)
    if key not in values:
        while len(values) >= limit:  # before the next is made: two backbones may not fit
            values.popitem(last=False)
        values[key] = make()
    values.move_to_end(key)
    return values[key]


def shared_backbone(settings: Backbone, task: Task, *, seed: int, bf16: bool) -> load.Loaded:
    """A backbone with its own modules over weights that this process may have loaded before."""
    drawn = None if settings.pretrained else seed
    content = fingerprint(settings)
    with_head = cached("has a head", 8, (content, settings.name), lambda: has_head(settings))
    sizes = json.dumps(dict(settings.sizes or {}), sort_keys=True)
    width = num_outputs(task) if with_head else None
    key = (content, settings.name, sizes, settings.tied_head, settings.pooling, drawn, bf16, width)
    loaded: load.Loaded = cached("backbone", 1, key, lambda: load.load(settings, task, seed=seed, bf16=bf16))
    model = with_own_modules(loaded.model)
    load.draw(model, loaded.new_weights, seed=seed)
    return replace(loaded, model=model, family=type(loaded.family)(task, loaded.tokenizer))


def with_own_modules(model: Model) -> Model:
    """A copy whose parameters and buffers are objects of their own over the same memory."""
    shared: dict[int, Any] = {
        id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad) for p in model.parameters()
    }
    shared |= {id(buffer): buffer.detach() for buffer in model.buffers()}
    return copy.deepcopy(model, shared)
