"""Validation of a config: every key, type, range and class, before any work.

`settings` turns the plain values of a composed config into `krona.config.settings.Run`, or raises one message with all
problems. Classes are checked by their signatures; nothing is constructed (`krona.config.targets`).
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import Any

from krona.config import settings as s
from krona.config.habits import unknown_key
from krona.config.targets import find, find_inner
from krona.config.validation import (
    CONSTRUCTION_KEYS,
    Problems,
    argument_problems,
    parameters,
    problems_of,
)
from krona.config.validation import build as build
from krona.messages import KronaError, did_you_mean
from krona.tasks.task import Task

PLACEMENT_KEYS = tuple(f.name for f in fields(s.Placement))
TRAINS = ("train_layer_norms", "train_backbone")  # the keys of a method that has no branch
GIVEN_TO_BRANCHES = ("d_in", "d_out")  # arguments that a branch gets from its layer
SCHEDULE_ARGUMENTS = ("num_warmup_steps", "num_training_steps", "T_max", "total_steps")  # the run has them
REFUSED = {
    "ReduceLROnPlateau": "it needs a score in each step, and dev is scored once an epoch. Use scheduler=cosine, linear "
    "or constant",
    "StochasticWeightAveraging": "the model is that of the best epoch on dev, not a mean of epochs",
    "GradientAccumulationScheduler": "a step always has batch_size rows. Use trainer.accumulate_grad_batches=2",
    "Timer": "a run ends after trainer.max_epochs or trainer.max_steps, so that it can be repeated",
}


def settings(config: Mapping[str, Any], *, own: bool = False) -> s.Run:
    """Return the typed settings of a composed config (plain dicts and values).

    own: the config was composed from the user's own command and conf/, so it may name their classes. A file's may not.

    Raises:
        NotAllowedError: it names a class that no file may name.
        KronaError: one message, a line per problem.
    """
    problems = Problems()
    parts: dict[str, Any] = {}
    for name, build_part in PARTS.items():
        with problems.collect():
            parts[name] = build_part(_mapping(name, config.get(name, {} if name in OPTIONAL else None)), own)
    values = {key: value for key, value in config.items() if key not in PARTS}
    known = {f.name for f in fields(s.Run)} - {"trackers", "config"} | {"logger"}
    problems += [unknown_key(key, known) for key in ("trackers", "config") if key in values]
    values |= {**parts, "trackers": parts.get("logger", {}), "config": dict(config)}
    values.pop("logger", None)
    lines = problems_of(s.Run, "", values, known=known)
    problems += [line for line in lines if line.removesuffix(" is missing") not in PARTS]
    problems.raise_all()
    return s.Run(**values)


def method(config: Mapping[str, Any], own: bool = False) -> s.Method:
    """Return a method's settings. The branch's arguments are checked against its class. Raises one `KronaError`."""
    values = dict(config)
    target = values.pop("_target_", None)
    branch = None if target is None else find(target, "method._target_", "branch", own=own)
    arguments = {} if branch is None else parameters(branch, without=GIVEN_TO_BRANCHES)
    placement_keys = TRAINS if branch is None else PLACEMENT_KEYS
    plain_keys = [f.name for f in fields(s.Method) if f.name not in ("branch", "branch_config", "placement")]
    name, known = values.get("name", "?"), [*plain_keys, *placement_keys, *arguments]
    problems = Problems()
    for key in [key for key in values if key not in known]:
        reason = "it has no branch" if branch is None else did_you_mean(key, known)
        problems.append(f"method.{key}: the method {name} has no {key}: {reason}")
    branch_config = {key: values[key] for key in arguments if key in values}
    placement = {key: values[key] for key in placement_keys if key in values}
    plain = {key: values[key] for key in plain_keys if key in values}
    if branch is not None:
        problems += argument_problems(branch, "method.", branch_config, without=GIVEN_TO_BRANCHES)
        if not placement.get("target_modules"):
            problems.append(f"method.target_modules: name the modules that get the branch of {name}, such as [q, v]")
    problems += problems_of(s.Placement, "method.", placement) + problems_of(s.Method, "method.", plain)
    problems.raise_all()
    return s.Method(**plain, branch=target, branch_config=branch_config, placement=placement)


def _optimizer(config: Mapping[str, Any], own: bool) -> s.Optimizer:
    values = {"_target_": "torch.optim.AdamW", **config}
    target = values.pop("_target_")
    values.pop("_partial_", None)  # it is one in any case: the learner gives it the parameters
    optimizer = find(target, "optimizer._target_", "optimizer", own=own)
    plain_keys = ("lr", "warmup_steps", "gradient_clip")
    plain = {key: values.pop(key) for key in plain_keys if key in values}
    problems = Problems(problems_of(s.Optimizer, "optimizer.", {"target": target, **plain}))
    problems += argument_problems(optimizer, "optimizer.", values, without=("params",), also=plain_keys)
    problems.raise_all()
    return s.Optimizer(target=target, arguments=values, **plain)


def _scheduler(config: Mapping[str, Any], own: bool) -> s.Scheduler:
    """Return the learning-rate schedule: a function or class, and its arguments."""
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    target = config.get("_target_", s.Scheduler.target)
    if not arguments and target == s.Scheduler.target:
        return s.Scheduler()  # the default is not imported: transformers takes seconds
    found = _find_of_lightning(target, "scheduler._target_", "scheduler", own=own)
    if "optimizer" not in parameters(found):
        raise KronaError(
            f"scheduler._target_={target!r} does not accept an optimizer. Use a schedule of torch or transformers."
        )
    problems = argument_problems(found, "scheduler.", arguments, without=("optimizer",), filled_in=SCHEDULE_ARGUMENTS)
    Problems(problems).raise_all()
    return s.Scheduler(target=str(target), arguments=arguments)


def _callbacks(config: Mapping[str, Any], own: bool) -> Mapping[str, Mapping[str, Any]]:
    """Return Lightning's callbacks by name, each a class with its arguments (conf/callbacks/)."""
    problems = Problems()
    for name, values in config.items():
        where = f"callbacks.{name}"
        with problems.collect():
            found = _find_of_lightning(_target(where, values, config), f"{where}._target_", "callback", own=own)
            problems += _object_problems(found, where, values, own=own)
    problems.raise_all()
    return config


def _logger(config: Mapping[str, Any], own: bool) -> Mapping[str, Mapping[str, Any]]:
    """Return the trackers by name, each a class with its arguments (conf/logger/)."""
    problems = Problems()
    for name, values in config.items():
        where = f"logger.{name}"
        with problems.collect():
            tracker = find(_target(where, values, config), f"{where}._target_", "tracker", "logger", own=own)
            filled_in = ("save_dir",) if is_lightning_logger(tracker) else ()
            wrong = _object_problems(tracker, where, values, own=own, filled_in=filled_in)
            problems += wrong
            if not wrong and hasattr(tracker, "check"):
                tracker.check(values)  # raises for a missing package or a forbidden name
    problems.raise_all()
    return config


def is_lightning_logger(found: Any) -> bool:
    """Return whether it is a class of pytorch_lightning's loggers, or derived from one."""
    return inspect.isclass(found) and any(
        one.__name__ == "Logger" and one.__module__.startswith(("pytorch_lightning.", "lightning_fabric."))
        for one in found.__mro__
    )


def _object_problems(
    cls: Any, where: str, values: Mapping[str, Any], *, own: bool, filled_in: Collection[str] = ()
) -> list[str]:
    """Return the problems of a node with ``_target_``, by the signature of its class."""
    arguments = {key: value for key, value in values.items() if key not in CONSTRUCTION_KEYS}
    problems = []
    for key, value in arguments.items():
        if isinstance(value, Mapping) and "_target_" in value:
            found = find_inner(value["_target_"], f"{where}.{key}._target_", own=own)
            problems += _object_problems(found, f"{where}.{key}", value, own=own)
            filled_in = (*filled_in, key)
    given = list(parameters(cls))[: None if values.get("_partial_") else len(values.get("_args_", ()))]
    plain = {key: value for key, value in arguments.items() if key not in filled_in}
    return problems + argument_problems(cls, f"{where}.", plain, filled_in=(*filled_in, *given))


def _find_of_lightning(target: Any, where: str, kind: str, *, own: bool) -> Any:
    if str(target).startswith("lightning.pytorch."):
        ours = str(target).replace("lightning.pytorch.", "pytorch_lightning.", 1)
        raise KronaError(f"{where}={target!r}: krona uses the package pytorch_lightning. Use {where}={ours}")
    found = find(target, where, kind, own=own)
    if found.__name__ in REFUSED:
        raise KronaError(f"{where.partition('._target_')[0]}: {found.__name__} is refused: {REFUSED[found.__name__]}")
    return found


def _target(where: str, values: Any, others: Mapping[str, Any]) -> Any:
    """Return the class that a callback or tracker names."""
    if not isinstance(values, Mapping) or "_target_" not in values:
        name = where.partition(".")[2]
        near = did_you_mean(name, others.keys() - {name})
        raise KronaError(f"{where} has no class: {near}. One of your own: +{where}._target_=package.Class")
    return values["_target_"]


def _mapping(name: str, values: Any) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise KronaError(f"{name}={values!r} must be keys and values, as in conf/{name}/")
    return values


OPTIONAL = ("logger", "callbacks", "scheduler")
PARTS: Mapping[str, Callable[[Mapping[str, Any], bool], Any]] = {
    "method": method,
    "task": lambda values, own: Task.from_config(values),
    "backbone": lambda values, own: build(s.Backbone, "backbone", values),
    "data": lambda values, own: build(s.Data, "data", values),
    "optimizer": _optimizer,
    "trainer": lambda values, own: build(s.Trainer, "trainer", values),
    "scheduler": _scheduler,
    "callbacks": _callbacks,
    "logger": _logger,
}
