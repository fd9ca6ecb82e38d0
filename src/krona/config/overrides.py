"""Check a command's options and overrides (KEY=VALUE), and expand the overrides of a multirun into its jobs."""

from collections.abc import Mapping, Sequence
from itertools import islice
from math import prod
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from krona.config.choices import require_names
from krona.config.compose import compose_with_hydra, hydra_session, parser
from krona.config.derived_values import STUDIES, TUNED
from krona.config.hydra_interface import option_parser, split_jobs, translate_errors
from krona.messages import KronaError, did_you_mean

MAX_RUNS = 10_000  # a sweep of more runs is most likely a mistake


@translate_errors()
def normalize(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with Hydra's options first, and with `TUNED` instead of ``recipe=tuned``.

    Raises:
        KronaError: an option or a choice does not exist, a sweep lacks -m, or an override cannot be parsed.
    """
    known_options = option_parser()
    options, unknown = known_options.parse_known_intermixed_args(list(arguments))
    if options.experimental_rerun is not None:
        raise KronaError(
            "--experimental-rerun is not supported, because it loads a pickle, which can run code. Repeat the command "
            "that started the run instead. The run's overrides are in RUN/.hydra/overrides.yaml."
        )
    if options.shell_completion:
        return list(arguments)  # the argument install=bash is not a setting
    if wrong := dict.fromkeys(item.partition("=")[0] for item in unknown if item.startswith("-")):
        names = [each for action in known_options._actions for each in action.option_strings if each.startswith("--")]
        form = "Settings have the form KEY=VALUE, without dashes."
        raise KronaError("\n".join(f"{name} is not an option: {did_you_mean(name, names)}. {form}" for name in wrong))
    typed = []
    for item in options.overrides:
        key, _, value = item.partition("=")
        is_tuned = key == "recipe" and value.split(STUDIES)[0] == "tuned"
        typed.append(value.replace("tuned", TUNED, 1) if is_tuned else item)
    sweeps = [item for item in typed if item.startswith("sweeps=")]
    if len(sweeps) > 1 or any("," in item for item in sweeps):
        raise KronaError(f"{' '.join(sweeps)} names several sweeps. Use a separate command for each sweep.")
    if sweeps and not options.multirun:
        raise KronaError(f"{sweeps[0]} is a sweep of many runs and needs -m. Run: krona train -m {sweeps[0]}")
    require_names(OverridesParser.create().parse_overrides(typed))
    if not options.multirun and (several := find_sweep(typed)):
        raise KronaError(f"{several} has several values. To start several runs, add -m to krona train.")
    return [item for item in arguments if item not in options.overrides] + typed


def find_sweep(arguments: Sequence[str]) -> str | None:
    """Return the first override with several values, or None."""
    overrides = [item for item in arguments if "=" in item and not item.startswith("-")]
    parsed = OverridesParser.create().parse_overrides(overrides)
    return next((override.input_line for override in parsed if override.is_sweep_override()), None)


def expand_command(arguments: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of each job of ``krona train -m ARGUMENTS``."""
    with hydra_session():
        return expand([item for item in normalize(["-m", *arguments]) if item != "-m"])


@translate_errors()
def expand(overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of each job of ``krona train -m OVERRIDES``. Call this inside `hydra_session` only."""
    parsed = parser().parse_overrides(list(overrides))
    single = [str(override.input_line) for override in parsed if not override.is_sweep_override()]
    return list_jobs(read_axes(single), overrides)


def read_axes(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the axes in the sweep's YAML file (values by key). Call this inside `hydra_session` only."""
    return sweeper_params(compose_with_hydra("config", overrides))


def sweeper_params(cfg: DictConfig) -> dict[str, Any]:
    """Return ``hydra.sweeper.params`` of a composed config as plain values."""
    node = cfg.hydra.sweeper.params
    params: Any = OmegaConf.to_container(node, resolve=True) if node else {}
    return {str(key): value for key, value in params.items()}


def list_jobs(params: Mapping[str, Any], overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the overrides of each job of a multirun, in the order of Hydra's own sweeper.

    ``params`` are the axes of a sweep's YAML, which are placed before the overrides.

    Raises:
        KronaError: the sweep has more than `MAX_RUNS` runs, or the values of an axis are invalid or missing.
    """
    parsed = parser().parse_overrides([f"{key}={value}" for key, value in params.items()] + list(overrides))
    if prod(_count_values(override) for override in parsed if override.is_sweep_override()) > MAX_RUNS:
        raise KronaError(f"The sweep exceeds the limit of {MAX_RUNS:,} runs. Reduce the number of values.")
    return split_jobs(parsed)


def _count_values(axis: Override) -> int:
    """Return the number of values of an axis, at most `MAX_RUNS` + 1."""
    line = str(axis.input_line)
    try:
        count = sum(1 for _ in islice(axis.sweep_iterator(), MAX_RUNS + 1))
    except (ValueError, HydraException) as error:
        raise KronaError(
            f"{line} is not valid: {error}. Write single values, such as {axis.key_or_group}=1,2,3, or "
            "range(START,STOP,STEP), which counts from START and ends before STOP."
        ) from error
    if count == 0:
        raise KronaError(
            f"{line} has no values, so the sweep has no runs. glob(…) matches the names of a group's choices, and "
            "range(0,3) is 0, 1, 2."
        )
    return count
