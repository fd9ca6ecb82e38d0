"""Import and build the classes that a config names under ``_target_``, if the config may use these classes.

A config that was composed from the user's own command and conf/ may use any class of the right kind. A config that was
read from another file (a result, a sweep's command or a study) may use only the classes that `require_allowed` allows.
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
# These classes change what krona itself controls: the learning rate, the best epoch's weights or the length of a run.
UNSUPPORTED = (
    "ReduceLROnPlateau",
    "StochasticWeightAveraging",
    "WeightAveraging",
    "EMAWeightAveraging",
    "LearningRateFinder",
    "ModelPruning",
    "Timer",
)


def find_class(path: object, where: str, *kinds: str, own: bool = True) -> Any:
    """Import a class or scheduler function that a config names, and return it.

    Args:
        path: the dotted path.
        where: dotted key of the config, for messages.
        kinds: keys of `KINDS`. The class must be of one of these kinds. Without kinds, any class or function is
            accepted.
        own: whether the user's own command or conf/ names the class. If false, the class must be allowed, and of one of
            ``kinds`` or, without kinds, of any kind in `KINDS`.

    Raises:
        NotAllowedError: as in `require_allowed`. The class is then not imported.
        KronaError: the class does not exist, is of another kind, or is not supported.
    """
    if not own:
        require_allowed(path, where, *kinds)
        kinds = kinds or tuple(KINDS)
    target = _import(path, where)
    if not isinstance(target, type):
        if callable(target) and (not kinds or any(KINDS[kind].functions for kind in kinds)):
            return target
        raise KronaError(f"{where}={path!r} is a {type(target).__name__}, not a class")
    if target.__name__ in UNSUPPORTED:
        raise KronaError(f"{where}={path!r} is not supported, because krona chooses the rate, the epoch and the length")
    if kinds and not any(issubclass(target, _import(KINDS[kind].base, "base")) for kind in kinds):
        needed = dict.fromkeys(KINDS[kind].base for kind in kinds)
        raise KronaError(f"{where}={path!r} is not a subclass of {' or '.join(needed)}.")
    return target


def require_allowed(path: object, where: str, *kinds: str) -> None:
    """Check that a file may name a class: a class of these kinds, or a class in a YAML of conf/. Import nothing.

    Raises:
        NotAllowedError: the class is not allowed.
    """
    if any(KINDS[kind].contains(str(path)) for kind in kinds or KINDS) or str(path) in own_targets():
        return
    modules = [f"{KINDS[kind].module}.*" for kind in kinds or KINDS]
    allowed = " and ".join(modules[:3]) + (" and others" if len(modules) > 3 else "")
    raise NotAllowedError(
        f"{where}={shorten(path)!r} is named by a file, but a file may only use {allowed}. The class was not imported. "
        "Run the command in the folder of the project whose conf/ names the class. In another folder, set KRONA_CONF "
        "to this conf/ and PYTHONPATH to the folder of the module."
    )


def require_inner(value: object, where: str, find: Callable[..., object]) -> None:
    """Call ``find`` (such as `find_class`) for each object in a config value, to raise its errors.

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

    ``where`` and ``kind`` are arguments of `find_class`. ``more`` contains additional arguments of the class.

    Raises:
        KronaError: `find_class` rejects a class, or a class raises an error.
    """
    find_class(values["_target_"], f"{where}._target_", kind)
    require_inner({key: value for key, value in values.items() if key != "_target_"}, where, find_class)
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
