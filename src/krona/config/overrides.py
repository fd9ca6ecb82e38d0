"""Check and normalise a command's overrides (KEY=VALUE) before Hydra reads them."""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser

from krona.config.choices import choices, groups, require_names, sweep_axes
from krona.config.derived_values import STUDIES, TUNED
from krona.config.errors import translate_errors
from krona.config.hydra_internals import option_parser
from krona.formatting import override_text
from krona.messages import KronaError, did_you_mean

OPTIONAL = (  # config groups in which no file needs to be chosen
    "recipe", "factors", "variant", "experiment", "sweeps", "callbacks", "logger",
)  # fmt: skip
WITH_DEFAULT = ("recipe", "callbacks", "logger")  # optional groups with a default file; GROUP=null chooses no file
OVERRIDE = re.compile(r"\+{0,2}([A-Za-z_][\w.]*)=(.*)", re.DOTALL)
PLAIN_VALUE = re.compile(r"[^\[\]{}(),='\"$]*")  # a value that is not a list, dict, sweep or interpolation
UNREADABLE = re.compile(r"[^\x00-\x7f]|[~#&;!<>^`]")  # characters that Hydra reads only in quotes


@translate_errors()
def normalize(arguments: Sequence[str]) -> list[str]:
    """Return the arguments in the form that Hydra needs: options first, and ``++KEY=VALUE`` for each setting.

    Hydra then accepts every key, and `krona.config.check` reports all wrong keys in one message.

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
    typed: list[str] = options.overrides
    known = groups()
    problems = [_unknown_option(item) for item in dict.fromkeys(unknown) if item.startswith("-")]
    if problems:
        raise KronaError("\n".join(problems))
    typed = [_expand_seeds(item) for item in typed]
    _check_sweeps(typed, multirun=options.multirun)
    ready = [item for item in arguments if item not in options.overrides]
    if options.cfg is not None and not options.resolve:
        ready.append("--resolve")  # with this option, Hydra prints values instead of interpolations
    axes = sweep_axes(typed) if options.multirun else []
    for item in typed:
        overrides = _normalize_override(item, known)
        # Hydra replaces an axis of the sweep's file only by an override of exactly the same key, without ++.
        ready += [
            override.removeprefix("++") if override.lstrip("+").partition("=")[0] in axes else override
            for override in overrides
        ]
    if not options.multirun and (several := find_sweep(ready)):
        key, _, values = several.lstrip("+").partition("=")
        is_list = values.replace(",", "").isalpha() and key not in ("method", "task", "backbone")
        as_list = f" To set a list, write {key}=[{values}]." if is_list else ""
        raise KronaError(f"{key}={values} has several values. To start several runs, add -m to krona train.{as_list}")
    return ready


def _normalize_override(item: str, known: Sequence[str]) -> list[str]:
    """Return a list with the override in the form that Hydra needs, or an empty list if it only sets the default."""
    if item.startswith("~") and item[1:] in known and item[1:] not in OPTIONAL:
        raise KronaError(_required_group(item, item[1:]))
    match = OVERRIDE.fullmatch(item)
    if match is None or match[1].startswith("hydra."):
        return [item]
    key, value = match.groups()
    if PLAIN_VALUE.fullmatch(value) and UNREADABLE.search(value):
        value = override_text(value)
    if key not in known:
        return [f"++{key}={value}"]
    if value == "null":
        if key not in OPTIONAL:
            raise KronaError(_required_group(item, key))
        return [f"~{key}"] if key in WITH_DEFAULT else []
    if key == "recipe" and value.split(STUDIES)[0] == "tuned":  # use the default recipe, but not its learning rate
        return [value.replace("tuned", TUNED, 1)]
    require_names(OverridesParser.create().parse_overrides([f"{key}={value}"]))
    return [f"{key}={value}"]


def _required_group(item: str, key: str) -> str:
    return f"{item} is not possible, because a run needs a {key}. Choose from {', '.join(choices(key))}."


def _expand_seeds(item: str) -> str:
    """Return seed=0-3 as seed=0,1,2,3, and other overrides unchanged."""
    match = re.fullmatch(r"(\+*seed=)(\d+)-(\d+)", item)
    return item if match is None else match[1] + ",".join(map(str, range(int(match[2]), int(match[3]) + 1)))


def _check_sweeps(overrides: Sequence[str], *, multirun: bool) -> None:
    sweeps = [item for item in overrides if item.lstrip("+").startswith("sweeps=")]
    if len(sweeps) > 1 or any("," in item for item in sweeps):
        raise KronaError(f"{' '.join(sweeps)} names several sweeps. Use a separate command for each sweep.")
    names = [item.lstrip("+").partition("=")[2] for item in overrides if item.lstrip("+").startswith("sweep=")]
    if multirun and not sweeps and names and names[0] in choices("sweeps"):
        raise KronaError(
            f"sweep={names[0]} only names the runs of this command. To start the runs of sweeps/{names[0]}.yaml, write "
            f"sweeps={names[0]}."
        )
    if sweeps and not multirun:
        raise KronaError(f"{sweeps[0]} is a sweep of many runs and needs -m. Run: krona train -m {sweeps[0]}")


def _unknown_option(option: str) -> str:
    names = [each for action in option_parser()._actions for each in action.option_strings if each.startswith("--")]
    name = option.partition("=")[0]
    return f"{name} is not an option: {did_you_mean(name, names)}. Settings have the form KEY=VALUE, without dashes."


def find_sweep(arguments: Sequence[str]) -> str | None:
    """Return the first override with several values, or None."""
    overrides = [item for item in arguments if "=" in item and not item.startswith("-")]
    parsed = OverridesParser.create().parse_overrides(overrides)
    return next((override.input_line for override in parsed if override.is_sweep_override()), None)
