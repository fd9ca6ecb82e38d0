"""Check a composed config before a run starts: every key, type, range and class.

`settings` returns a typed `krona.config.settings.RunSettings`, or raises one error that lists all problems. The
arguments of a class are compared with its signature. `krona.config.target_classes` creates the objects later.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

from krona.config import settings as s
from krona.config.target_classes import find_class, require_allowed, require_inner
from krona.config.validation import (
    CONSTRUCTION_KEYS,
    Problems,
    find_argument_problems,
    find_problems,
    parameters,
)
from krona.config.validation import build as build
from krona.messages import KronaError, check_file_name, did_you_mean, unknown_key
from krona.paths import choice_files
from krona.tasks.task import Task

FindClass = Callable[..., Any]  # as `krona.config.target_classes.find_class`, but may return None (`_finder`)
PLACEMENT_KEYS = tuple(f.name for f in fields(s.Placement))
METHOD_KEYS = [f.name for f in fields(s.Method) if f.name not in ("branch", "branch_config", "placement")]
TRAINS = ("train_layer_norms", "train_backbone")  # the placement keys that a method without a branch accepts
GIVEN_TO_BRANCHES = ("d_in", "d_out")  # arguments that a branch gets from its layer
SCHEDULE_ARGUMENTS = ("num_warmup_steps", "num_training_steps", "T_max", "total_steps")  # krona sets these arguments
OPTIMIZER_KEYS = ("lr", "lr_factors", "warmup_steps", "gradient_clip")  # all other keys are arguments of the class

SETS_ARGUMENTS = re.compile(  # overrides that may set arguments of a class
    r"[+~]*(method\.|scheduler\.|callbacks|logger|factors|variant|experiment|recipe|"
    rf"optimizer\.(?!({'|'.join(OPTIMIZER_KEYS)})\b))"
)


def may_set_arguments(overrides: Sequence[str]) -> bool:
    """Return whether overrides may set arguments of a class, such as the branch. These need a check (`settings`)."""
    return any(map(SETS_ARGUMENTS.match, overrides))


def settings(config: Mapping[str, Any], *, own: bool = False, imports: bool = True) -> s.RunSettings:
    """Return the typed settings of a composed config.

    Args:
        own: whether the config comes from the user's own command and conf/, and may therefore use any class.
        imports: whether to import the classes, which takes a second, and to check their arguments.

    Raises:
        NotAllowedError: the config names a forbidden class or function.
        KronaError: the config has problems. The message has one line for each problem.
    """
    problems = Problems()
    sections: dict[str, Any] = {}
    find_class = _finder(own=own, imports=imports)
    for name, build_part in PARTS.items():
        values = config.get(name, {} if name in OPTIONAL else None)
        with problems.collect():
            if not isinstance(values, Mapping):
                raise KronaError(f"{name}={values!r} must have keys and values")
            if name in values:
                raise KronaError(
                    f"Unknown key {name}.{name}. Is `# @package _global_` missing in the first line of the YAML file?"
                )
            sections[name] = task(values, own=own) if name == "task" else build_part(values, find_class)
    if isinstance(config.get("sweep"), str):
        with problems.collect():
            check_file_name("sweep", config["sweep"])
    plain = {key: value for key, value in config.items() if key not in PARTS}
    for key in plain.keys() - s.RunSettings.__dataclass_fields__.keys():
        problems.append(unknown_key(key, {name: value for name, value in config.items() if name != key}))
        del plain[key]
    run = {**plain, **sections, "config": dict(config)}
    missing = {f"{name} is missing" for name in PARTS if name not in sections}
    problems += [line for line in find_problems(s.RunSettings, "", run) if line not in missing]
    problems.raise_all()
    return s.RunSettings(**run)


def _finder(*, own: bool, imports: bool) -> FindClass:
    """Return a function that finds a class, or returns None for a class that is not imported. See `settings`."""
    if imports:
        return partial(find_class, own=own)
    return (lambda *arguments: None) if own else require_allowed


def task(config: Mapping[str, Any], *, own: bool = False) -> Task:
    """Return the task of a config's ``task`` section. If ``own`` is true, error messages name the task's YAML file."""
    try:
        return Task.from_config(config)
    except KronaError as error:
        file = choice_files("task").get(str(config.get("name"))) if own else None
        raise KronaError("\n".join(f"{line} ({file})" if file else line for line in str(error).split("\n"))) from error


def method(config: Mapping[str, Any], find_class: FindClass = find_class) -> s.Method:
    """Return the settings of a config's ``method`` section. Raise the same errors as `settings` with ``own=True``."""
    target = config.get("_target_")
    branch = None if target is None else find_class(target, "method._target_", "branch")
    placement_keys = TRAINS if target is None else PLACEMENT_KEYS
    arguments = [] if branch is None else [*parameters(branch, without=GIVEN_TO_BRANCHES)]
    if target is not None and branch is None:  # the class is not imported, so its arguments are unknown
        arguments = [key for key in config if key not in (*METHOD_KEYS, *placement_keys, "_target_")]
    known = (*METHOD_KEYS, *placement_keys, *arguments)
    unknown = [key for key in config if key not in (*known, "_target_")]
    problems = Problems(unknown_key(f"method.{key}", known) for key in unknown)
    if target is None and "target_modules" in unknown:
        problems.append("method._target_, the class of the branch, is missing")
    own = [key for key in METHOD_KEYS if key not in arguments]  # the branches LoKr and CDKA have an argument alpha
    plain, placement, branch_config = (
        {key: config[key] for key in keys if key in config} for keys in (own, placement_keys, arguments)
    )
    if target is None or branch is not None:
        with problems.collect():
            branch_config |= _scale_by_rank(branch, plain, branch_config)
    if branch is not None:
        problems += find_argument_problems(branch, "method.", branch_config, without=GIVEN_TO_BRANCHES)
    adapts_modules = branch is not None and not branch.adds_positions
    if adapts_modules and not placement.get("target_modules"):
        problems.append("method.target_modules is empty. Name the modules that get a branch, such as [q, v].")
    problems += find_problems(s.Placement, "method.", placement) + find_problems(s.Method, "method.", plain)
    problems.raise_all()
    return s.Method(**plain, branch=target, branch_config=branch_config, placement=placement)


def _scale_by_rank(branch: type | None, plain: Mapping[str, Any], branch_config: dict[str, Any]) -> dict[str, float]:
    """Return the branch argument ``scaling``, computed from the method's ``alpha``, or {} if ``alpha`` is not set."""
    alpha, stabilised, scaling = plain.get("alpha"), plain.get("rank_stabilised"), branch_config.get("scaling")
    if alpha is None:
        if stabilised:
            raise KronaError("method.rank_stabilised=true needs method.alpha, because the scale is alpha / √rank.")
        return {}
    known = {} if branch is None else parameters(branch)
    if not {"rank", "scaling"} <= known.keys():
        label = "This method" if branch is None else branch.__name__
        raise KronaError(
            f"method.alpha={alpha} needs a branch with the arguments rank and scaling. {label} lacks one of them."
        )
    if scaling is not None:
        raise KronaError(
            f"method.alpha={alpha} and method.scaling={scaling} both set the scale. Remove one of them, or set "
            "method.scaling=null."
        )
    rank = branch_config.get("rank", known["rank"].default)
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in (alpha, rank)) or rank < 1:
        return {"scaling": 1.0}  # the wrong alpha or rank is reported later
    return {"scaling": alpha / (math.sqrt(rank) if stabilised else rank)}


def _optimizer(config: Mapping[str, Any], find_class: FindClass) -> s.Optimizer:
    target = config.get("_target_", "torch.optim.AdamW")
    optimizer = find_class(target, "optimizer._target_", "optimizer")
    plain = {key: config[key] for key in OPTIMIZER_KEYS if key in config}
    arguments = {key: config[key] for key in config if key not in (*OPTIMIZER_KEYS, "_target_", "_partial_")}
    require_inner(arguments, "optimizer", find_class)
    problems = Problems(find_problems(s.Optimizer, "optimizer.", {"target": target, **plain}))
    if optimizer is not None:
        problems += find_argument_problems(optimizer, "optimizer.", arguments, without=("params",), also=OPTIMIZER_KEYS)
    problems.raise_all()
    return s.Optimizer(target=target, arguments=arguments, **plain)


def _scheduler(config: Mapping[str, Any], find_class: FindClass) -> s.Scheduler:
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    target = config.get("_target_", s.Scheduler.target)
    if not arguments and target == s.Scheduler.target:
        return s.Scheduler()  # the import of transformers takes seconds, and the default needs no check
    schedule = find_class(target, "scheduler._target_", "scheduler")
    if schedule is not None:
        if "optimizer" not in parameters(schedule):
            raise KronaError(
                f"scheduler._target_={target!r} does not accept an optimizer. Use a schedule of torch or transformers."
            )
        without = ("optimizer",)
        Problems(
            find_argument_problems(schedule, "scheduler.", arguments, without=without, filled_in=SCHEDULE_ARGUMENTS)
        ).raise_all()
    return s.Scheduler(target=str(target), arguments=arguments)


def _check_objects(group: str, config: Mapping[str, Any], find_class: FindClass) -> Mapping[str, Any]:
    """Check the objects in the section ``callbacks`` or ``logger``."""
    problems = Problems()
    for name in config:
        with problems.collect():
            problems += _check_object(group, name, config, find_class)
    problems.raise_all()
    return config


def _check_object(group: str, name: str, config: Mapping[str, Any], find_class: FindClass) -> list[str]:
    where, values = f"{group}.{name}", config[name]
    if not isinstance(values, Mapping) or "_target_" not in values:
        if name in choice_files(group):
            raise KronaError(f"{where} has no class. To use conf/{group}/{name}.yaml, add {group}={name}.")
        others = config.keys() - {name}
        near = f": {did_you_mean(name, others)}" if others else ""
        raise KronaError(
            f"{where} has no class, because the key {where}._target_ is missing{near}. To use your own class, add "
            f"{where}._target_=package.Class"
        )
    is_logger = group == "logger"
    kinds = ("tracker", "logger") if is_logger else ("callback",)
    cls = find_class(values["_target_"], f"{where}._target_", *kinds)
    if cls is None:
        return []
    return _find_object_problems(cls, where, values, find_class, filled_in=("save_dir",) if is_logger else ())


def _find_object_problems(
    cls: Callable[..., Any],
    where: str,
    values: Mapping[str, Any],
    find_class: FindClass,
    *,
    filled_in: Collection[str] = (),
) -> list[str]:
    """Return a line for each wrong argument of a config node, according to the signature of the node's class."""
    arguments = {key: value for key, value in values.items() if key not in CONSTRUCTION_KEYS}
    problems = []
    for key, value in arguments.items():
        if isinstance(value, Mapping) and "_target_" in value:
            inner = find_class(value["_target_"], f"{where}.{key}._target_")
            if inner is not None:
                problems += _find_object_problems(inner, f"{where}.{key}", value, find_class)
            filled_in = (*filled_in, key)
    given = list(parameters(cls))[: None if values.get("_partial_") else len(values.get("_args_", ()))]
    plain = {key: value for key, value in arguments.items() if key not in filled_in}
    return problems + find_argument_problems(cls, f"{where}.", plain, filled_in=(*filled_in, *given))


OPTIONAL = ("logger", "callbacks", "scheduler")
PARTS: Mapping[str, Callable[[Mapping[str, Any], FindClass], Any]] = {
    "method": method,
    "task": lambda values, _: task(values),
    "backbone": lambda values, _: build(s.Backbone, "backbone", values),
    "data": lambda values, _: build(s.Data, "data", values),
    "optimizer": _optimizer,
    "trainer": lambda values, _: build(s.Trainer, "trainer", values),
    "scheduler": _scheduler,
    "callbacks": partial(_check_objects, "callbacks"),
    "logger": partial(_check_objects, "logger"),
}
