"""Import and build the classes that a config names under ``_target_``, if the config may use these classes.

A config that was composed from the user's own command and conf/ may use any class of the right kind (`find_own`). A
config that was read from another file (a result, a sweep's command or a study) may use only the classes of `KINDS` and
the classes in a YAML of conf/ (`find_named`). For any other class, an error is raised, and its module is not imported.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    "LearningRateFinder": "krona has its own search. Use krona tune.",
    "ModelPruning": "the method determines the trained weights.",
    "Timer": "a run must be reproducible. Limit the run with trainer.max_epochs or trainer.max_steps.",
}


def find_own(path: object, where: str, *kinds: str) -> Any:
    """Import a class or scheduler function that the user's own command or conf/ names, and return it.

    Args:
        path: the dotted path.
        where: dotted key of the config, for messages.
        kinds: keys of `KINDS`. The class must be of one of these kinds. Without kinds, any class or function is
            accepted.

    Raises:
        KronaError: the class does not exist, is of another kind, or is not supported.
    """
    require_our_lightning(path, where)
    target = _import(path, where)
    name = getattr(target, "__name__", "")
    if name in UNSUPPORTED:
        key = where.removesuffix("._target_")
        raise KronaError(f"{key}: {name} is not supported, because {UNSUPPORTED[name]}")
    if not isinstance(target, type):
        if callable(target) and (not kinds or any(KINDS[kind].functions for kind in kinds)):
            return target
        raise KronaError(f"{where}={path!r} is a {type(target).__name__}, not a class")
    if kinds and not any(issubclass(target, _import(KINDS[kind].base, "base")) for kind in kinds):
        needed = dict.fromkeys(KINDS[kind].base for kind in kinds)
        raise KronaError(f"{where}={path!r} is not a subclass of {' or '.join(needed)}.")
    return target


def find_named(path: object, where: str, *kinds: str) -> Any:
    """Import a class or scheduler function that a file names, if files may use it, and return it.

    The arguments are those of `find_own`. Without kinds, the class must be of any kind in `KINDS`.

    Raises:
        NotAllowedError: the class is not allowed. If its module is not allowed, the module is not imported.
        KronaError: as in `find_own`.
    """
    require_allowed(path, where, *kinds)
    target = find_own(path, where, *(kinds or KINDS))
    if is_shipped(path, *kinds) and isinstance(target, type):
        own = f"{target.__module__}.{target.__qualname__}"
        if not is_shipped(own, *kinds):  # a shipped module also contains the classes that it imports
            raise NotAllowedError(f"{where}={path!r} is {own}, but a file may only use {_describe_allowed(kinds)}")
    return target


def require_allowed(path: object, where: str, *kinds: str) -> None:
    """Check that a file may name a class: a class of these kinds, or a class in a YAML of conf/. Import nothing.

    Raises:
        NotAllowedError: the class is not allowed.
    """
    if not is_shipped(path, *kinds) and str(path) not in own_targets():
        raise NotAllowedError(
            f"{where}={shorten(path)!r} is named by a file, but a file may only use {_describe_allowed(kinds)}. The "
            "class was not imported. Run the command in the folder of the project whose conf/ names the class. In "
            "another folder, set KRONA_CONF to this conf/ and PYTHONPATH to the folder of the module."
        )


def require_our_lightning(path: object, where: str) -> None:
    """Check that a class does not belong to the package ``lightning``, whose classes are copies.

    Raises:
        KronaError: the class belongs to this package.
    """
    if str(path).startswith("lightning.pytorch."):
        ours = str(path).replace("lightning.pytorch.", "pytorch_lightning.", 1)
        raise KronaError(f"{where}={path!r} is not supported. krona uses pytorch_lightning. Use {where}={ours}")


def is_shipped(path: object, *kinds: str) -> bool:
    """Return whether a dotted path belongs to krona, torch or Lightning, so that any config may use it (`KINDS`)."""
    return any(KINDS[kind].contains(str(path)) for kind in kinds or KINDS)


def _describe_allowed(kinds: Sequence[str]) -> str:
    modules = [f"{KINDS[kind].module}.*" for kind in kinds or KINDS]
    return " and ".join(modules[:3]) + (" and others" if len(modules) > 3 else "")


def require_inner(value: object, where: str, find: Callable[..., object]) -> None:
    """Call ``find`` (such as `find_own`) for each object in a config value, to raise its errors.

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


def build_object(values: Mapping[str, Any], where: str, kind: str, **more: object) -> Any:
    """Build the object that a checked config node with ``_target_`` describes, and its nested objects.

    ``where`` and ``kind`` are arguments of `find_own`. ``more`` contains additional arguments of the class.

    Raises:
        KronaError: `find_own` rejects a class, or a class raises an error.
    """
    find_own(values["_target_"], f"{where}._target_", kind)
    require_inner({key: value for key, value in values.items() if key != "_target_"}, where, find_own)
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
    builder: Callable[..., Any] = build_object(named, "optimizer", "optimizer", lr=settings.lr)

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
    calls = [call for call in extract_tb(error.__traceback__) if not call.filename.startswith(("<frozen ", *importers))]
    return f"{type(error).__name__}: {error} ({calls[-1].filename}, line {calls[-1].lineno})" if calls else str(error)
