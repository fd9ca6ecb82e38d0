"""Make and check the configs of peft's types (``method.config``), and find the names with which they select modules."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from torch import nn

from krona.config.validation import find_argument_problems
from krona.messages import KronaError, did_you_mean, first_line, install_command
from krona.paths import choice_files
from krona.surgery.wrapper import is_in_adapter, public_name

NAME = "default"  # the name of the adapter inside peft's layers
EXAMPLE_STEPS = 1000  # the number of steps for a config that is only checked or counted
PROMPT_TYPES = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CARTRIDGE")  # the types of `krona.backbones.prompts`
# the arguments that seed random positions and frozen factors; peft's default is a constant
SEEDS = ("random_seed", "random_loc_seed", "projection_prng_key", "projection_seed", "proj_seed")
SET_BY_KRONA = ("target_modules", "modules_to_save", "task_type", "inference_mode", "base_model_name_or_path")


def require_peft() -> None:
    """Check that the peft package is installed.

    Raises:
        KronaError: the package was not found.
    """
    if find_spec("peft") is None:
        raise KronaError(f"The peft package is not installed. Install it with: {install_command('peft')}")


def config_classes() -> dict[str, Any]:
    """Return peft's config classes by the name of their type. Raises the error of `require_peft`."""
    require_peft()
    with quiet():
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return {kind.value: cls for kind, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items()}


def make_config(arguments: Mapping[str, Any], *, is_prompt: bool = False, **more: Any) -> Any:
    """Return a config of peft.

    Args:
        arguments: ``peft_type`` and the arguments of the type's config class.
        is_prompt: whether the branch class is that of prompts.
        more: arguments from krona.

    Raises:
        KronaError: peft is not installed, the type is unknown or not possible, or an argument is wrong.
    """
    kinds = config_classes()
    name, others = arguments.get("peft_type"), {key: value for key, value in arguments.items() if key != "peft_type"}
    if name not in kinds:
        raise KronaError(f"method.config.peft_type={name!r} is not a type of peft: {did_you_mean(str(name), kinds)}")
    has_method = f"peft/{name.lower()}" in choice_files("method")
    if not has_method or (name in PROMPT_TYPES) != is_prompt:
        reason = f"Use method=peft/{name.lower()}." if has_method else "krona does not support this type."
        raise KronaError(f"method.config.peft_type={name} is not possible. {reason}")
    if given := [key for key in SET_BY_KRONA if key in others]:
        raise KronaError(f"krona sets method.config.{given[0]} itself. Use method.target_modules, or remove the key.")
    find: Any = find_argument_problems  # peft's config classes are dataclasses
    if problems := find(kinds[name], "method.config.", others, without=(*SET_BY_KRONA, "peft_type")):
        raise KronaError("\n".join(problems))
    try:
        with quiet():
            return kinds[name](**others, **more)
    except (TypeError, ValueError) as error:
        raise KronaError(f"method.config is not possible for {name}: {first_line(error)}") from error


def resolve_step_fractions(arguments: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return the arguments of a peft config, with numbers of steps instead of fractions of a run's steps.

    A fraction is a number with a decimal point for an argument that must be an integer, such as ``tinit: 0.1``.
    """
    fields = getattr(config_classes().get(arguments.get("peft_type", "")), "__dataclass_fields__", {})
    types = {key: str(field.type) for key, field in fields.items()}
    counts = [key for key, annotation in types.items() if "int" in annotation and "float" not in annotation]
    fractions = {key: arguments[key] for key in counts if isinstance(arguments.get(key), float)}
    return {**arguments, **{key: round(fraction * max(1, steps)) for key, fraction in fractions.items()}}


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the warnings of peft, which are about its own models and files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def module_names(model: nn.Module) -> list[str]:
    """Return the public names of all modules of the backbone."""
    names = (name for name, _ in model.named_modules(remove_duplicate=False) if not is_in_adapter(f"{name}."))
    return list(dict.fromkeys(map(public_name, names)))


def outermost(module: str, parts: Iterable[str]) -> str:
    """Return the first part of the model that contains a module, or the module itself."""
    return next((part for part in parts if module == part or module.startswith(f"{part}.")), module)


def is_target(name: str, word: str) -> bool:
    """Return whether a module's dotted name ends with an entry of ``target_modules``."""
    return name == word or name.endswith(f".{word}")


def shortest(wanted: Iterable[str], names: Sequence[str], matches: Callable[[str, str], bool] = is_target) -> list[str]:
    """Return the names with which peft selects exactly the wanted modules.

    Each returned name is the last part of a module's name or, if this part also matches other modules, the whole name.

    Raises:
        KronaError: the whole name of a wanted module also matches a module that is not wanted.
    """
    wanted = list(wanted)
    by_last_part: dict[str, list[str]] = {}
    for name in wanted:
        by_last_part.setdefault(name.rpartition(".")[2], []).append(name)
    short: list[str] = []
    for last_part, full_names in by_last_part.items():
        if {name for name in names if matches(name, last_part)} == set(full_names):
            short.append(last_part)
            continue
        for name in full_names:
            other = next((n for n in names if n != name and matches(n, name)), None)
            if other is not None and other not in wanted:
                raise KronaError(
                    f"peft would also adapt {other}, because its name ends with {name}. Keep krona's file."
                )
        short += full_names
    return short
