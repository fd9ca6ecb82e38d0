"""Import and build the classes that a config names under ``_target_``, if the config may use these classes.

A config that was composed from the user's own command and conf/ may use any class of the right kind (``own=True``).
A config that was read from another file (a result, a sweep's command or a study) may use only the classes of `KINDS`
and the classes in a YAML of conf/. For any other class, an error is raised, and the class's module is not imported.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from traceback import extract_tb
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from krona import paths
from krona.config.choices import own_targets
from krona.config.settings import Optimizer
from krona.config.validation import NotAllowedError as NotAllowedError
from krona.messages import KronaError, shorten


@dataclass(frozen=True)
class Kind:
    """A kind of class that a config may use, such as an optimizer."""

    module: str  # module whose classes any config may use
    base: str = ""  # dotted path of this kind's base class
    functions: str = ""  # dotted-path prefix of functions that are allowed instead of a class
    also: tuple[str, ...] = ()  # dotted paths of other classes that any config may use

    def contains(self, path: str) -> bool:
        """Return whether any config may use the class or function at this dotted path."""
        function = self.functions and path.startswith(self.functions) and path.count(".") == self.functions.count(".")
        return bool(function) or path in self.also or path.startswith(f"{self.module}.")


PEFT_CLASSES = ("krona.backbones.peft_branch.PeftBranch", "krona.backbones.prompts.PromptBranch")
KINDS: Mapping[str, Kind] = {
    "branch": Kind("krona.methods", base="krona.methods.branch.Branch", also=PEFT_CLASSES),
    "optimizer": Kind("torch.optim", "torch.optim.Optimizer"),
    "scheduler": Kind(
        "torch.optim.lr_scheduler", "torch.optim.lr_scheduler.LRScheduler", functions="transformers.get_"
    ),
    "tracker": Kind("krona.trackers", "pytorch_lightning.loggers.Logger"),
    "logger": Kind("pytorch_lightning.loggers", "pytorch_lightning.loggers.Logger"),
    "callback": Kind("pytorch_lightning.callbacks", "pytorch_lightning.callbacks.Callback"),
}
UNSUPPORTED = {
    "ReduceLROnPlateau": "it needs a score in each step, and dev is scored once an epoch. Use scheduler=cosine, linear "
    "or constant.",
    "StochasticWeightAveraging": "krona keeps the weights of the best epoch on dev, not a mean over epochs.",
    "WeightAveraging": "krona keeps the weights of the best epoch on dev, not a mean over steps.",
    "EMAWeightAveraging": "krona keeps the weights of the best epoch on dev, not a mean over steps.",
    "LearningRateFinder": "krona has its own search. Use krona tune or sweeps=learning_rates.",
    "ModelPruning": "the method determines the trained weights.",
    "Timer": "a run must be reproducible. Limit the run with trainer.max_epochs or trainer.max_steps.",
}


def find(
    path: object, where: str, *kinds: str, own: bool = False, starts: bool = True, shipped_too: bool = True
) -> Any:
    """Import the class or scheduler function at a dotted path, and return it without calling it.

    Args:
        where: dotted key of the config, for messages.
        kinds: keys of `KINDS`. The class must be of one of these kinds. If no kinds are given, all kinds in
            `KINDS` are allowed and, with ``own=True``, all classes and functions.
        own: whether the path is from the user's own command or conf/. If false, only the classes of `KINDS` and the
            classes in a YAML of conf/ are allowed.
        starts: whether a run starts now. If false, a class outside the modules of `KINDS` is not imported, and None
            is returned.
        shipped_too: whether to import a class of the modules of `KINDS`. If false, None is returned.

    Raises:
        NotAllowedError: ``own`` is false, and the class is not allowed. A module that is not allowed is not imported.
        KronaError: the class does not exist, is of another kind, or is not supported.
    """
    allowed = [KINDS[kind] for kind in kinds or KINDS]
    names = " and ".join(f"{kind.module}.*" for kind in allowed[:3]) + (" and others" if len(allowed) > 3 else "")
    shipped = any(kind.contains(str(path)) for kind in allowed)
    trusted = own or (not shipped and str(path) in own_targets())
    if not shipped and not trusted:
        raise NotAllowedError(
            f"{where}={shorten(path)!r} is named by a file, but a file may only use {names}. The class was not "
            "imported. Run the command in the folder of the project whose conf/ names the class. In another folder, "
            "set KRONA_CONF to this conf/ and PYTHONPATH to the folder of the module."
        )
    if str(path).startswith("lightning.pytorch."):
        ours = str(path).replace("lightning.pytorch.", "pytorch_lightning.", 1)
        raise KronaError(f"{where}={path!r} is not supported. krona uses pytorch_lightning. Use {where}={ours}")
    if (not shipped and not starts and "." in str(path)) or (shipped and not shipped_too):
        return None
    found = _import(path, where)
    if getattr(found, "__name__", "") in UNSUPPORTED:
        key = where.removesuffix("._target_")
        raise KronaError(f"{key}: {found.__name__} is not supported, because {UNSUPPORTED[found.__name__]}")
    is_any = not kinds and own and not shipped
    if not isinstance(found, type):
        if callable(found) and (is_any or any(kind.functions for kind in allowed)):
            return found
        raise KronaError(f"{where}={path!r} is a {type(found).__name__}, not a class")
    if is_any:
        return found
    if not any(issubclass(found, _import(kind.base, "base")) for kind in allowed):
        needed = dict.fromkeys(kind.base for kind in allowed)
        raise KronaError(f"{where}={path!r} is not a subclass of {' or '.join(needed)}.")
    if not trusted and not any(kind.contains(f"{found.__module__}.{found.__name__}") for kind in allowed):
        raise NotAllowedError(
            f"{where}={path!r} is {found.__module__}.{found.__qualname__}, but a file may only use {names}"
        )
    return found


def require_inner(value: object, where: str, find: Callable[..., Any]) -> None:
    """Call `find` for each object in a config value, to raise its errors.

    Raises:
        KronaError: the value contains an unresolved ``${…}``.
    """
    if isinstance(value, Mapping):
        if "_target_" in value:
            find(value["_target_"], f"{where}._target_")
        for key, inner in value.items():
            require_inner(inner, f"{where}.{key}", find)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            require_inner(inner, f"{where}[{number}]", find)
    elif isinstance(value, str) and "${" in value:  # Hydra would resolve the text after this check
        raise KronaError(f"{where}={value!r} contains ${{…}}, which is not allowed in a composed value")


def build(values: Mapping[str, Any], where: str, kind: str, **more: Any) -> Any:
    """Build the object that a checked config node with ``_target_`` describes, and its nested objects.

    ``where`` and ``kind`` are arguments of `find`. ``more`` contains additional arguments of the class.

    Raises:
        KronaError: `find` rejects a class, or a class raises an error.
    """
    find(values["_target_"], f"{where}._target_", kind, own=True)
    inner = {key: value for key, value in values.items() if key != "_target_"}
    require_inner(inner, where, partial(find, own=True))
    try:
        return instantiate(dict(values), _convert_="all", **more)
    except InstantiationException as error:
        why = shorten(" ".join(str(error.__cause__ or error).split()), 200)
        raise KronaError(f"The {kind} {where} ({values['_target_']}) cannot be built: {why}") from error


def build_optimizer(settings: Optimizer) -> Callable[..., Any]:
    """Return a function that creates a run's optimizer from the trainable parameters.

    The function raises `KronaError` if the optimizer's class does not accept the parameters or the arguments.
    """
    named = {"_target_": settings.target, **settings.arguments, "_partial_": True}
    builder: Callable[..., Any] = build(named, "optimizer", "optimizer", lr=settings.lr)

    def create(parameters: Sequence[Any]) -> Any:
        try:
            return builder(parameters)
        except (ValueError, TypeError) as error:
            raise KronaError(
                f"{settings.target} cannot be created with the arguments in the section optimizer: {error}"
            ) from error

    return create


def _import(path: object, where: str) -> Any:
    module, _, name = str(path).rpartition(".")
    if not module:
        raise KronaError(f"{where}={path!r} is not a dotted path. Use MODULE.CLASS, such as torch.optim.SGD.")
    try:
        return getattr(paths.import_own(module), name)
    except Exception as error:  # a user's module can raise any error
        raise KronaError(f"{where}={path!r} cannot be imported: {_explain_import(error, module)}") from error


def _explain_import(error: Exception, module: str) -> str:
    """Return the message of an import error, with the file and line of the code that raised the error."""
    if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
        return (
            f"{error}. Check the name. A module of your own must be in the working directory or in a folder of "
            "PYTHONPATH."
        )
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    importers = (__file__, paths.__file__, importlib.__file__)
    calls = [one for one in extract_tb(error.__traceback__) if not one.filename.startswith(("<frozen ", *importers))]
    return f"{type(error).__name__}: {error} ({calls[-1].filename}, line {calls[-1].lineno})" if calls else str(error)
