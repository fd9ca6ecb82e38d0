"""Validation of a config: every key, type, range and signature, before any work.

`settings` turns the plain values of a composed config into `krona.config.settings.Run`, or raises one message with all
problems: unknown keys with the nearest right one, wrong types and values out of range with what is expected. Classes
are checked by their signatures; nothing is constructed (`krona.config.targets`).
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import partial
from typing import Any

from krona import surgery
from krona.config import settings as s
from krona.config.arguments import (
    argument_problems,
    mismatches,
    object_problems,
    parameters,
    raise_all,
    unknown,
)
from krona.config.lightning import callbacks, lightning_logger, scheduler
from krona.config.targets import NotAllowedError, find
from krona.messages import KronaError, did_you_mean, file_name
from krona.tasks.task import Task

OPTIONAL = ("logger", "callbacks", "scheduler")
TRAINS = ("train_layer_norms", "train_backbone")
# arguments of `surgery.insert` that a method's YAML may set; the run sets the name in the model and `reversible`
PLACEMENT_KEYS = tuple(key for key in inspect.signature(surgery.InsertOptions).parameters if key != "head")


def settings(config: Mapping[str, Any], *, own: bool = False) -> s.Run:
    """The typed settings of a composed config (plain dicts and values).

    ``own``: it was composed from the user's own command and conf/, so it may name their classes. A file's may not.

    Raises:
        NotAllowedError: it names a class that no file may name.
        KronaError: one message, a line per problem.
    """
    top = {f.name for f in fields(s.Run)} - {"trackers", "config"} | {"logger"}
    problems = unknown("", config, top)
    parts: dict[str, Any] = {}
    for name, build in _PARTS.items():
        try:
            part = config.get(name, {} if name in OPTIONAL else None)
            if not isinstance(part, Mapping):
                raise KronaError(f"{name}={part!r}: expected keys and values, as conf/{name}/ has them")
            parts[name] = build(part, own=own) if name in WITH_CLASSES else build(part)
        except NotAllowedError:
            raise
        except KronaError as error:
            problems.append(str(error))
    trackers = parts.pop("logger", {})
    simple = {f.name: config[f.name] for f in fields(s.Run) if f.name in config and f.name not in _PARTS}
    problems += [line for line in _problems(s.Run, "", simple) if line.removesuffix(" is missing") not in _PARTS]
    micro, batch = simple.get("micro_batch_size"), simple.get("batch_size")
    if not problems and micro is not None and micro > batch:
        problems = [f"micro_batch_size={micro} is larger than batch_size={batch}"]
    problems += _no_graph(parts["trainer"]) if not problems else []
    try:
        if isinstance(config.get("sweep"), str):
            file_name("sweep", config["sweep"])
    except KronaError as error:
        problems.append(str(error))
    raise_all(problems)
    return s.Run(**simple, **parts, trackers=trackers, config=dict(config))


def method(config: Mapping[str, Any], *, own: bool = False) -> s.Method:
    """A method's settings; the branch's arguments are checked against its class. Raises one `KronaError`."""
    values = dict(config)
    target = values.pop("_target_", None)
    branch = None if target is None else find(target, "method._target_", "branch", own=own)
    arguments = {} if branch is None else parameters(branch, without=("d_in", "d_out"))
    plain_keys = {f.name for f in fields(s.Method)} - {"branch", "branch_config", "placement"}
    known = [*plain_keys, *(TRAINS if branch is None else PLACEMENT_KEYS), *arguments]
    name = values.get("name", "?")
    problems = []
    for key in [key for key in values if key not in known]:
        what = f"method.{key}: the method {name} has no {key}"
        problems.append(f"{what}, it puts no branch in" if branch is None else f"{what}: {did_you_mean(key, known)}")
    placement = {key: values[key] for key in PLACEMENT_KEYS if key in values}
    branch_config = {key: values[key] for key in arguments if key in values}
    plain = {key: values[key] for key in plain_keys if key in values}
    if branch is not None:
        required = [key for key, parameter in arguments.items() if parameter.default is parameter.empty]
        problems += [f"method.{key} is missing" for key in required if key not in values]
        if not values.get("target_modules"):
            problems.append(f"method.target_modules: name the modules that get the branch of {name}, such as [q, v]")
        problems += argument_problems(branch, "method.", branch_config)
    problems += argument_problems(surgery.InsertOptions, "method.", placement) + _problems(s.Method, "method.", plain)
    raise_all(problems)
    return s.Method(**plain, branch=target, branch_config=branch_config, placement=placement)


def _optimizer(config: Mapping[str, Any], *, own: bool = False) -> s.Optimizer:
    values = dict(config)
    target = values.pop("_target_", "torch.optim.AdamW")
    values.pop("_partial_", None)  # it is one in any case: the learner gives it the parameters
    plain_keys = ("lr", "warmup_steps", "gradient_clip")
    optimizer = find(target, "optimizer._target_", "optimizer", own=own)
    plain = {key: values[key] for key in plain_keys if key in values}
    arguments = {key: value for key, value in values.items() if key not in plain_keys}
    problems = unknown("optimizer.", values, {*plain_keys, *parameters(optimizer, without=("params",))})
    problems += _problems(s.Optimizer, "optimizer.", {"target": target, **plain})
    problems += argument_problems(optimizer, "optimizer.", arguments)
    raise_all(problems)
    return s.Optimizer(target=target, arguments=arguments, **plain)


def _logger(config: Mapping[str, Any], *, own: bool = False) -> Mapping[str, Mapping[str, Any]]:
    """The trackers by name: each a class with its arguments (conf/logger/)."""
    problems = []
    for name, values in config.items():
        if not isinstance(values, Mapping) or "_target_" not in values:
            problems.append(f"logger.{name}: no tracker: {did_you_mean(name, config.keys() - {name})}")
            continue
        tracker = find(values["_target_"], f"logger.{name}._target_", "tracker", "logger", own=own)
        if (wrong := lightning_logger(name, tracker, values)) is not None:
            problems += wrong
            continue
        wrong = object_problems(tracker, f"logger.{name}", values, own=own)
        try:
            if not wrong and hasattr(tracker, "check"):
                tracker.check(values)  # raises for a missing package or a forbidden name
        except KronaError as error:
            wrong.append(str(error))
        problems += wrong
    raise_all(problems)
    return config


def _no_graph(trainer: s.Trainer) -> list[str]:
    """Settings that ``trainer.compile`` can't be together with."""
    others = ["strategy=fsdp"] if trainer.strategy == "fsdp" else []
    others += ["gradient_checkpointing=true"] if trainer.gradient_checkpointing else []
    what = "torch.compile makes no whole graph of both; take one"
    return [f"trainer.compile=true and trainer.{other}: {what}" for other in others if trainer.compile]


def build(cls: Any, where: str, values: Mapping[str, Any]) -> Any:
    """A settings class from plain values. Raises one `KronaError` with all problems."""
    raise_all(unknown(f"{where}.", values, {f.name for f in fields(cls)}) + _problems(cls, f"{where}.", values))
    return cls(**values)


WITH_CLASSES = ("method", "optimizer", "scheduler", "callbacks", "logger")  # parts that name classes
_PARTS: Mapping[str, Callable[..., Any]] = {
    "method": method,
    "task": Task.from_config,
    "backbone": partial(build, s.Backbone, "backbone"),
    "data": partial(build, s.Data, "data"),
    "optimizer": _optimizer,
    "trainer": partial(build, s.Trainer, "trainer"),
    "scheduler": scheduler,
    "callbacks": callbacks,
    "logger": _logger,
}


def _problems(cls: Any, prefix: str, values: Mapping[str, Any]) -> list[str]:
    """Missing fields of a settings class, and values of a wrong type or out of range."""
    missing = [
        f"{prefix}{f.name} is missing"
        for f in fields(cls)
        if f.default is MISSING and f.default_factory is MISSING and f.name not in values
    ]
    return missing + mismatches(typing.get_type_hints(cls, include_extras=True), prefix, values)
