"""Classes that a config names (``_target_``): which ones may be imported, and their construction by Hydra.

A config that was composed from the user's own command and conf/ may name any class of the right kind (``own=True``).
One that was read from a file (a result, a sweep's command, a study) may name the classes of `KINDS` and those that a
YAML of conf/ names. Everything else is refused before it is imported.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from krona.config.choices import own_targets
from krona.config.settings import Optimizer
from krona.config.validation import NotAllowedError as NotAllowedError
from krona.messages import KronaError, shortened
from krona.paths import import_own


@dataclass(frozen=True)
class Kind:
    """A kind of class: the modules that anyone may name one of, and its base class or its methods.

    functions: how the path of a function begins that may stand in its place; empty: none may.
    """

    what: str
    module: str
    base: str = ""  # dotted
    methods: tuple[str, ...] = ()
    functions: str = ""

    def names(self, path: str) -> bool:
        """Whether anyone may name what is at this path."""
        function = self.functions and path.startswith(self.functions) and path.count(".") == self.functions.count(".")
        return bool(function) or path.startswith(f"{self.module}.")


KINDS: Mapping[str, Kind] = {
    "branch": Kind("branch", "krona.methods", "torch.nn.Module"),
    "optimizer": Kind("optimizer", "torch.optim", "torch.optim.Optimizer"),
    "scheduler": Kind(
        "scheduler",
        "torch.optim.lr_scheduler",
        "torch.optim.lr_scheduler.LRScheduler",
        functions="transformers.get_",
    ),
    "tracker": Kind("tracker", "krona.trackers", methods=("open", "epoch", "end", "close")),
    "logger": Kind("Lightning logger", "pytorch_lightning.loggers", "pytorch_lightning.loggers.Logger"),
    "callback": Kind("Lightning callback", "pytorch_lightning.callbacks", "pytorch_lightning.callbacks.Callback"),
}


def find(path: Any, where: str, *kinds: str, own: bool = False) -> Any:
    """The class at a dotted path, of one of ``kinds`` (keys of `KINDS`), or a scheduler's function. Nothing is called.

    Args:
        where: the config's key, for messages.
        own: the user's own command or conf/ names it. False: a file may, and nothing else than `KINDS` is imported.

    Raises:
        NotAllowedError: a class that ``own=False`` does not allow; its module is not imported.
        KronaError: no such class, or one of another kind.
    """
    wanted = [KINDS[kind] for kind in kinds]
    shipped = any(kind.names(str(path)) for kind in wanted)
    named_here = own or (not shipped and str(path) in own_targets())
    if not shipped and not named_here:
        raise NotAllowedError(
            f"{where}={shortened(path)!r} is named by a file, which may name {_listed(wanted)} only: nothing was "
            "imported. To allow it, name it in a YAML of conf/, or on the command line"
        )
    found = _imported(path, where)
    if not isinstance(found, type):
        if callable(found) and any(kind.functions for kind in wanted):
            return found
        raise KronaError(f"{where}={path!r} is a {type(found).__name__}, not a class")
    if not any(_is_a(found, kind) for kind in wanted):
        needed = " or ".join(kind.base or f"a class with {', '.join(kind.methods)}" for kind in wanted)
        raise KronaError(f"{where}={path!r} is no {' or '.join(kind.what for kind in wanted)}: expected {needed}")
    if not named_here and not any(kind.names(f"{found.__module__}.{found.__name__}") for kind in wanted):
        raise NotAllowedError(f"{where}={path!r} is {found.__module__}.{found.__qualname__}: {_listed(wanted)} only")
    return found


def find_inner(path: Any, where: str, *, own: bool = False) -> Any:
    """The class of an argument that is an object: of any kind; the user's own config may name any class or function."""
    if own and not any(kind.names(str(path)) for kind in KINDS.values()):
        found = _imported(path, where)
        if not callable(found):
            raise KronaError(f"{where}={path!r} is a {type(found).__name__}, not a class")
        return found
    return find(path, where, *KINDS, own=own)


def build(values: Mapping[str, Any], where: str, *kinds: str, own: bool = False, **more: Any) -> Any:
    """The object of a node with ``_target_`` by `hydra.utils.instantiate`: ``_partial_``, ``_args_``, objects within.

    ``more``: further arguments. Raises KronaError for a class that `find` refuses; what the class itself raises passes.
    """
    find(values.get("_target_"), f"{where}._target_", *kinds, own=own)
    for inner, node in _nodes(values, where):
        if node is not values:
            find_inner(node["_target_"], f"{inner}._target_", own=own)
    try:
        return instantiate(dict(values), _convert_="all", **more)
    except InstantiationException as error:
        raise error.__cause__ or KronaError(f"{where}: {str(error).splitlines()[0]}") from error


def build_optimizer(settings: Optimizer) -> Callable[..., Any]:
    """The optimiser of a run's own settings; it is called with the parameters."""
    named = {"_target_": settings.target, **settings.arguments, "_partial_": True}
    builder: Callable[..., Any] = build(named, "optimizer", "optimizer", own=True, lr=settings.lr)
    return builder


def _nodes(value: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping with ``_target_`` in a node, with its key. Raises KronaError for an interpolation that is left."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield where, value
        for key, inner in value.items():
            yield from _nodes(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _nodes(inner, f"{where}[{number}]")
    elif isinstance(value, str) and "${" in value:  # Hydra would resolve it, after this check
        raise KronaError(f"{where}={value!r}: ${{…}} can't stand in a composed value")


def _imported(path: Any, where: str) -> Any:
    module, _, name = str(path).rpartition(".")
    try:
        return getattr(import_own(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise KronaError(f"{where}={path!r} can't be imported: {error}") from error


def _is_a(found: type, kind: Kind) -> bool:
    if kind.methods:
        return all(callable(getattr(found, name, None)) for name in kind.methods)
    base = _imported(kind.base, "base")
    return issubclass(found, base)


def _listed(kinds: list[Kind]) -> str:
    return " and ".join(f"{kind.module}.*" for kind in kinds[:3]) + (" and others" if len(kinds) > 3 else "")
