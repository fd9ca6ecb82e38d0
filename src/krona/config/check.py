"""Validation of a config: every key, type, range and signature, before any work.

`settings` turns the plain values of a composed config into `krona.config.settings.Run`, or raises one message with all
problems: unknown keys with the nearest right one, wrong types and values out of range with what is expected.
"""

import importlib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import partial
from typing import Any

from krona import surgery
from krona.config import settings as s
from krona.config.habits import instead_of
from krona.config.types import expected
from krona.messages import KronaError, did_you_mean, file_name
from krona.tasks.task import Task

TRAINS = ("train_layer_norms", "train_backbone")
# arguments of `surgery.insert` that a method's YAML may set; the run sets the name in the model and `reversible`
PLACEMENT_KEYS = tuple(
    name
    for name, parameter in inspect.signature(surgery.insert).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name not in ("name", "reversible", "head")
)


def settings(config: Mapping[str, Any]) -> s.Run:
    """The typed settings of a composed config (plain dicts and values).

    Raises:
        KronaError: one message, a line per problem.
    """
    top = {f.name for f in fields(s.Run)} - {"trackers", "config"} | {"logger"}
    problems = _unknown("", config, top)
    parts: dict[str, Any] = {}
    for name, build in _PARTS.items():
        try:
            part = config.get(name)
            if not isinstance(part, Mapping):
                raise KronaError(f"{name}={part!r}: expected keys and values, as conf/{name}/ has them")
            parts[name] = build(part)
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
    _raise_all(problems)
    return s.Run(**simple, **parts, trackers=trackers, config=dict(config))


def method(config: Mapping[str, Any]) -> s.Method:
    """A method's settings; the branch's arguments are checked against its class. Raises one `KronaError`."""
    values = dict(config)
    target = values.pop("_target_", None)
    branch = None if target is None else locate(target, "method._target_")
    arguments = {} if branch is None else _parameters(branch, without=("d_in", "d_out"))
    own = {f.name for f in fields(s.Method)} - {"branch", "branch_config", "placement"}
    known = [*own, *(TRAINS if branch is None else PLACEMENT_KEYS), *arguments]
    name = values.get("name", "?")
    problems = []
    for key in [key for key in values if key not in known]:
        what = f"method.{key}: the method {name} has no {key}"
        problems.append(f"{what}, it puts no branch in" if branch is None else f"{what}: {did_you_mean(key, known)}")
    placement = {key: values[key] for key in PLACEMENT_KEYS if key in values}
    branch_config = {key: values[key] for key in arguments if key in values}
    plain = {key: values[key] for key in own if key in values}
    if branch is not None:
        required = [key for key, parameter in arguments.items() if parameter.default is parameter.empty]
        problems += [f"method.{key} is missing" for key in required if key not in values]
        if not values.get("target_modules"):
            problems.append(f"method.target_modules: name the modules that get the branch of {name}, such as [q, v]")
        problems += _argument_problems(branch, "method.", branch_config)
    problems += _argument_problems(surgery.insert, "method.", placement) + _problems(s.Method, "method.", plain)
    _raise_all(problems)
    return s.Method(**plain, branch=target, branch_config=branch_config, placement=placement)


def _optimizer(config: Mapping[str, Any]) -> s.Optimizer:
    values = dict(config)
    target = values.pop("_target_", "torch.optim.AdamW")
    own = ("lr", "warmup_steps", "gradient_clip")
    optimizer = locate(target, "optimizer._target_")
    plain = {key: values[key] for key in own if key in values}
    arguments = {key: value for key, value in values.items() if key not in own}
    problems = _unknown("optimizer.", values, {*own, *_parameters(optimizer, without=("params",))})
    problems += _problems(s.Optimizer, "optimizer.", {"target": target, **plain})
    problems += _argument_problems(optimizer, "optimizer.", arguments)
    _raise_all(problems)
    return s.Optimizer(target=target, arguments=arguments, **plain)


def _logger(config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The trackers by name: each a class with its arguments (conf/logger/)."""
    problems = []
    for name, values in config.items():
        if not isinstance(values, Mapping) or "_target_" not in values:
            problems.append(f"logger.{name}: no tracker: {did_you_mean(name, config.keys() - {name})}")
            continue
        tracker = locate(values["_target_"], f"logger.{name}._target_")
        arguments = {key: value for key, value in values.items() if key != "_target_"}
        wrong = _unknown(f"logger.{name}.", arguments, _parameters(tracker))
        wrong += _argument_problems(tracker, f"logger.{name}.", arguments)
        try:
            if not wrong:
                tracker(**arguments)  # raises for a missing package or a forbidden name
        except KronaError as error:
            wrong.append(str(error))
        problems += wrong
    _raise_all(problems)
    return config


def _no_graph(trainer: s.Trainer) -> list[str]:
    """Settings that ``trainer.compile`` can't be together with."""
    others = ["strategy=fsdp"] if trainer.strategy == "fsdp" else []
    others += ["gradient_checkpointing=true"] if trainer.gradient_checkpointing else []
    what = "torch.compile makes no whole graph of both; take one"
    return [f"trainer.compile=true and trainer.{other}: {what}" for other in others if trainer.compile]


def build(cls: Any, where: str, values: Mapping[str, Any]) -> Any:
    """A settings class from plain values. Raises one `KronaError` with all problems."""
    _raise_all(_unknown(f"{where}.", values, {f.name for f in fields(cls)}) + _problems(cls, f"{where}.", values))
    return cls(**values)


_PARTS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "method": method,
    "task": Task.from_config,
    "backbone": partial(build, s.Backbone, "backbone"),
    "data": partial(build, s.Data, "data"),
    "optimizer": _optimizer,
    "trainer": partial(build, s.Trainer, "trainer"),
    "logger": _logger,
}


def _problems(cls: Any, prefix: str, values: Mapping[str, Any]) -> list[str]:
    """Missing fields of a settings class, and values of a wrong type or out of range."""
    missing = [
        f"{prefix}{f.name} is missing"
        for f in fields(cls)
        if f.default is MISSING and f.default_factory is MISSING and f.name not in values
    ]
    return missing + _mismatches(typing.get_type_hints(cls, include_extras=True), prefix, values)


def _unknown(prefix: str, values: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    wrong = [key for key in values if key not in known]
    near = {key: instead_of(f"{prefix}{key}") or did_you_mean(key, sorted(known)) for key in wrong}
    return [f"{prefix}{key} is no setting: {near[key]}" for key in wrong]


def _mismatches(hints: Mapping[str, Any], prefix: str, values: Mapping[str, Any]) -> list[str]:
    return [
        f"{prefix}{key}={value!r}: expected {words}"
        + (f"; {own}" if (own := instead_of(f"{prefix}{key}", value)) else "")
        for key, value in values.items()
        if key in hints and (words := expected(value, hints[key])) is not None
    ]


def _argument_problems(function: Callable[..., Any], prefix: str, values: Mapping[str, Any]) -> list[str]:
    """Arguments that do not fit the annotations of a function or of a class's constructor, where it has any."""
    try:
        hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except (NameError, TypeError):
        return []
    return _mismatches(hints, prefix, values)


def locate(path: Any, where: str) -> Any:
    """The class or function at a dotted path."""
    module_name, _, attribute = str(path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise KronaError(f"{where}={path!r} can't be imported: {error}") from error
    if not callable(found):
        raise KronaError(f"{where}={path!r} is a {type(found).__name__}, not a class")
    return found


def _parameters(function: Any, *, without: Sequence[str] = ()) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters.items()
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: one for name, one in parameters if one.kind not in variadic and name not in without}


def _raise_all(problems: Sequence[str]) -> None:
    if problems:
        raise KronaError("\n".join(problems))
