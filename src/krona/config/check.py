"""A config against every signature, type and range, before any work.

`settings` turns the plain values of a composed config into `krona.config.settings.Run`. All that is wrong is said in one
message: unknown keys with the nearest right one, values of a wrong type or out of range with what is expected.
"""

import importlib
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from functools import partial
from typing import Any

from krona import surgery
from krona.config import settings as s
from krona.config.types import describe, fits
from krona.messages import KronaError, did_you_mean
from krona.tasks.task import Task

TRAINS = ("train_layer_norms", "train_backbone")
# what a method's YAML may say to `surgery.insert`; its name in the model and the copy for take_out are the run's affair
PLACEMENT_KEYS = tuple(
    name
    for name, parameter in inspect.signature(surgery.insert).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name not in ("name", "reversible")
)


def settings(config: Mapping[str, Any]) -> s.Run:
    """The typed settings of a composed config (plain dicts and values).

    Raises:
        KronaError: one message with a line for each thing that is wrong.
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
    problems += _missing(s.Run, "", [*simple, *_PARTS])
    problems += _type_problems(s.Run, "", simple)
    if not problems:
        problems += _across(config)
    if problems:
        raise KronaError("\n".join(problems))
    return s.Run(**simple, **parts, trackers=trackers, config=dict(config))


def method(config: Mapping[str, Any]) -> s.Method:
    values = dict(config)
    target = values.pop("_target_", None)
    own = {f.name for f in fields(s.Method)} - {"branch", "branch_config", "placement"}
    branch_keys: list[str] = []
    if target is not None:
        branch_keys = [p for p in _parameters(locate(target, "method._target_")) if p not in ("d_in", "d_out")]
    placing = PLACEMENT_KEYS if target is not None else TRAINS
    known = [*own, *placing, *branch_keys]
    name = values.get("name", "?")
    problems = []
    for key in [key for key in values if key not in known]:
        what = f"method.{key}: the method {name} has no {key}"
        problems.append(f"{what}: {did_you_mean(key, known)}" if target else f"{what}, it puts no branch in")
    if target is not None:
        required = [
            p.name
            for p in _parameters(locate(target, "method._target_")).values()
            if p.default is p.empty and p.name not in ("d_in", "d_out")
        ]
        problems += [f"method.{key} is missing" for key in required if key not in values]
        if not values.get("target_modules"):
            problems.append(f"method.target_modules: say which modules the branch of {name} goes to, such as [q, v]")
    placement = {key: values[key] for key in PLACEMENT_KEYS if key in values}
    problems += _signature_types(surgery.insert, "method", placement)
    if target is not None:
        given = {key: values[key] for key in branch_keys if key in values}
        problems += _signature_types(locate(target, "method._target_"), "method", given)
    plain = {key: values[key] for key in own if key in values}
    problems += _missing(s.Method, "method.", plain)
    problems += _type_problems(s.Method, "method.", plain)
    if problems:
        raise KronaError("\n".join(problems))
    branch_config = {key: values[key] for key in branch_keys if key in values}
    return s.Method(**plain, branch=target, branch_config=branch_config, placement=placement)


def _optimizer(config: Mapping[str, Any]) -> s.Optimizer:
    values = dict(config)
    target = values.pop("_target_", "torch.optim.AdamW")
    own = ("lr", "warmup_steps", "gradient_clip")
    accepted = [p for p in _parameters(locate(target, "optimizer._target_")) if p not in ("params", "self")]
    problems = _unknown("optimizer.", values, {*own, *accepted})
    plain = {key: values[key] for key in own if key in values}
    problems += _type_problems(s.Optimizer, "optimizer.", plain)
    arguments = {key: value for key, value in values.items() if key not in own}
    problems += _signature_types(locate(target, "optimizer._target_"), "optimizer", arguments)
    problems += [f"optimizer.{key} is missing" for key in ("lr", "warmup_steps") if key not in plain]
    if problems:
        raise KronaError("\n".join(problems))
    return s.Optimizer(target=target, arguments=arguments, **plain)


def _logger(config: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The trackers, each a class and its arguments by a name of its own (conf/logger/)."""
    problems = []
    for name, values in config.items():
        if not isinstance(values, Mapping) or "_target_" not in values:
            problems.append(f"logger.{name}: no tracker: {did_you_mean(name, config.keys() - {name})}")
            continue
        tracker = locate(values["_target_"], f"logger.{name}._target_")
        arguments = {key: value for key, value in values.items() if key != "_target_"}
        wrong = _unknown(f"logger.{name}.", arguments, _parameters(tracker))
        wrong += _signature_types(tracker, f"logger.{name}", arguments)
        try:
            if not wrong:
                tracker(**arguments)  # says what is not installed, and which names are forbidden
        except KronaError as error:
            wrong.append(str(error))
        problems += wrong
    if problems:
        raise KronaError("\n".join(problems))
    return config


def _across(config: Mapping[str, Any]) -> list[str]:
    """What no single value shows."""
    micro, batch = config.get("micro_batch_size"), config["batch_size"]
    if micro is not None and micro > batch:
        return [f"micro_batch_size={micro} is larger than batch_size={batch}"]
    return []


def build(cls: Any, where: str, values: Mapping[str, Any]) -> Any:
    """A settings class from plain values; one error that says all that is wrong with them."""
    problems = _unknown(f"{where}.", values, {f.name for f in fields(cls)})
    problems += _missing(cls, f"{where}.", values)
    problems += _type_problems(cls, f"{where}.", values)
    if problems:
        raise KronaError("\n".join(problems))
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


def _missing(cls: Any, prefix: str, given: Iterable[str]) -> list[str]:
    """Fields without a default that are not given."""
    return [
        f"{prefix}{f.name} is missing"
        for f in fields(cls)
        if f.default is MISSING and f.default_factory is MISSING and f.name not in given
    ]


def _unknown(prefix: str, values: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    return [f"{prefix}{key} is no setting: {did_you_mean(key, sorted(known))}" for key in values if key not in known]


def _type_problems(cls: Any, prefix: str, values: Mapping[str, Any]) -> list[str]:
    hints = typing.get_type_hints(cls)
    bounds = {f.name: f.metadata for f in fields(cls)}
    problems = []
    for key, value in values.items():
        if key not in hints:
            continue
        if not fits(value, hints[key]):
            problems.append(f"{prefix}{key}={value!r}: expected {describe(hints[key])}")
        elif isinstance(value, int | float) and not isinstance(value, bool) and "low" in bounds[key]:
            low, high = bounds[key]["low"], bounds[key]["high"]
            if not low <= value or (high is not None and value > high) or value in (float("inf"),):
                limits = f"at least {low}" if high is None else f"from {low} to {high}"
                problems.append(f"{prefix}{key}={value!r}: expected {limits}")
    return problems


def _signature_types(function: Callable[..., Any], prefix: str, values: Mapping[str, Any]) -> list[str]:
    """Values against the annotations of a function or a class's constructor, where it has any."""
    hinted = function.__init__ if inspect.isclass(function) else function
    try:
        hints = typing.get_type_hints(hinted)
    except (NameError, TypeError):
        return []
    return [
        f"{prefix}.{key}={value!r}: expected {describe(hints[key])}"
        for key, value in values.items()
        if key in hints and not fits(value, hints[key])
    ]


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


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    signature = inspect.signature(function)
    return {
        name: parameter
        for name, parameter in signature.parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD and name not in ("self", "args")
    }
