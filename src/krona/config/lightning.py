"""Checks of the classes of Lightning and torch that a config names: callbacks, schedules and loggers."""

import inspect
from collections.abc import Mapping
from typing import Any

from krona.config import settings as s
from krona.config.arguments import missing, object_problems, parameters, raise_all, takes_any, unknown
from krona.config.targets import NotAllowedError, find
from krona.messages import KronaError

FILLED_IN = ("optimizer", "num_warmup_steps", "num_training_steps", "T_max", "total_steps")  # of a schedule, by the run
REFUSED = {
    "StochasticWeightAveraging": "the best epoch on dev is the model, not a mean of epochs",
    "GradientAccumulationScheduler": "a step is always batch_size rows: trainer.accumulate_grad_batches=2",
    "Timer": "a run ends after trainer.max_epochs or trainer.max_steps, so that it can be repeated",
}


def scheduler(config: Mapping[str, Any], *, own: bool = False) -> s.Scheduler:
    """The learning-rate schedule: a function or class, and its arguments. Raises one `KronaError`."""
    if not config:
        return s.Scheduler()
    arguments = {key: value for key, value in config.items() if key != "_target_"}
    target = config.get("_target_", s.Scheduler.target)
    found = _found(target, "scheduler._target_", "scheduler", own=own)
    if found.__name__ == "ReduceLROnPlateau":
        raise KronaError(
            "scheduler: ReduceLROnPlateau needs a score in each step, and dev is scored once an epoch: "
            "scheduler=cosine, linear or constant"
        )
    known = parameters(found)
    if "optimizer" not in known:
        raise KronaError(f"scheduler._target_={target!r} takes no optimizer: a schedule of torch or transformers does")
    raise_all(unknown("scheduler.", arguments, known.keys() - {"optimizer"}))
    raise_all(missing("scheduler.", arguments, known, filled_in=FILLED_IN))
    return s.Scheduler(target=str(target), arguments=arguments)


def callbacks(config: Mapping[str, Any], *, own: bool = False) -> Mapping[str, Mapping[str, Any]]:
    """Lightning's callbacks by name, each a class with its arguments (conf/callbacks/). Raises one `KronaError`."""
    problems = []
    for name, values in config.items():
        where = f"callbacks.{name}"
        if not isinstance(values, Mapping) or "_target_" not in values:
            problems.append(f"{where}: no callback: +{where}._target_=package.Class")
            continue
        try:
            problems += _callback(where, values, own=own)
        except NotAllowedError:
            raise
        except KronaError as error:
            problems.append(str(error))
    raise_all(problems)
    return config


def _callback(where: str, values: Mapping[str, Any], *, own: bool) -> list[str]:
    found = _found(values["_target_"], f"{where}._target_", "callback", own=own)
    if found.__name__ in REFUSED:
        return [f"{where}: no {found.__name__}: {REFUSED[found.__name__]}"]
    return object_problems(found, where, values, own=own)


def lightning_logger(name: str, found: Any, values: Mapping[str, Any]) -> list[str] | None:
    """Problems with one of Lightning's loggers; None for what is none. It is constructed when the run starts."""
    if not is_lightning_logger(found):
        return None
    arguments = {key: value for key, value in values.items() if key != "_target_"}
    known = parameters(found)
    wrong = [] if takes_any(found) else unknown(f"logger.{name}.", arguments, known)
    return wrong + missing(f"logger.{name}.", arguments, known, filled_in=("save_dir",))


def is_lightning_logger(found: Any) -> bool:
    """Whether it is a class of pytorch_lightning's loggers, or derived from one."""
    return inspect.isclass(found) and any(
        one.__name__ == "Logger" and one.__module__.startswith(("pytorch_lightning.", "lightning_fabric."))
        for one in found.__mro__
    )


def _found(target: Any, where: str, kind: str, *, own: bool) -> Any:
    if str(target).startswith("lightning.pytorch."):
        ours = str(target).replace("lightning.pytorch.", "pytorch_lightning.", 1)
        raise KronaError(f"{where}={target!r}: krona uses the package pytorch_lightning: {where}={ours}")
    return find(target, where, kind, own=own)
