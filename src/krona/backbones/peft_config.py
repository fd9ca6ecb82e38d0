"""Make and check the configs of peft's types (``method.config``)."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from krona.config.validation import find_argument_problems
from krona.distribution import install_command
from krona.messages import KronaError, did_you_mean, first_line
from krona.paths import choice_files

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
