"""Check a command's options and overrides (KEY=VALUE) before Hydra reads them."""

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser

from krona.config.choices import require_names
from krona.config.derived_values import STUDIES, TUNED
from krona.config.errors import translate_errors
from krona.config.hydra_internals import option_parser
from krona.messages import KronaError, did_you_mean


@translate_errors()
def normalize(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with Hydra's options first, and with `TUNED` instead of ``recipe=tuned``.

    Raises:
        KronaError: an option or a choice does not exist, a sweep lacks -m, or an override cannot be parsed.
    """
    options, unknown = option_parser().parse_known_intermixed_args(list(arguments))
    if options.experimental_rerun is not None:
        raise KronaError(
            "--experimental-rerun is not supported, because it loads a pickle, which can run code. Repeat the command "
            "that started the run instead. The run's overrides are in RUN/.hydra/overrides.yaml."
        )
    if options.shell_completion:
        return list(arguments)  # the argument install=bash is not a setting
    if wrong := [item for item in dict.fromkeys(unknown) if item.startswith("-")]:
        raise KronaError("\n".join(map(_unknown_option, wrong)))
    typed = [_use_tuned_rate(item) for item in options.overrides]
    _check_sweeps(typed, multirun=options.multirun)
    require_names(OverridesParser.create().parse_overrides(typed))
    if not options.multirun and (several := find_sweep(typed)):
        raise KronaError(f"{several} has several values. To start several runs, add -m to krona train.")
    return [item for item in arguments if item not in options.overrides] + typed


def _unknown_option(option: str) -> str:
    names = [each for action in option_parser()._actions for each in action.option_strings if each.startswith("--")]
    name = option.partition("=")[0]
    return f"{name} is not an option: {did_you_mean(name, names)}. Settings have the form KEY=VALUE, without dashes."


def _use_tuned_rate(item: str) -> str:
    """Return `TUNED` for ``recipe=tuned``, so that Hydra reads the default recipe, but not its learning rate."""
    key, _, value = item.partition("=")
    is_tuned = key == "recipe" and value.split(STUDIES)[0] == "tuned"
    return value.replace("tuned", TUNED, 1) if is_tuned else item


def _check_sweeps(overrides: Sequence[str], *, multirun: bool) -> None:
    sweeps = [item for item in overrides if item.startswith("sweeps=")]
    if len(sweeps) > 1 or any("," in item for item in sweeps):
        raise KronaError(f"{' '.join(sweeps)} names several sweeps. Use a separate command for each sweep.")
    if sweeps and not multirun:
        raise KronaError(f"{sweeps[0]} is a sweep of many runs and needs -m. Run: krona train -m {sweeps[0]}")


def find_sweep(arguments: Sequence[str]) -> str | None:
    """Return the first override with several values, or None."""
    overrides = [item for item in arguments if "=" in item and not item.startswith("-")]
    parsed = OverridesParser.create().parse_overrides(overrides)
    return next((override.input_line for override in parsed if override.is_sweep_override()), None)
