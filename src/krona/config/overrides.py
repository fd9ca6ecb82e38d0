"""Validation and normalisation of command-line overrides; Hydra's errors as one message."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from krona.config.choices import choices, groups, no_such, require_choices, require_names
from krona.config.compose import STUDIES, TUNED, compose_job, hydra_session, jobs_of
from krona.config.habits import unknown_key
from krona.config.hydra_internals import option_parser
from krona.messages import KronaError, did_you_mean
from krona.paths import choice_files

OPTIONAL = (  # groups of config.yaml that may be left empty
    "recipe", "factors", "variant", "experiment", "sweeps", "callbacks", "logger",
)  # fmt: skip
WITH_A_VALUE = ("--cfg", "-c", "--package", "-p", "--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd")
CFG = ("job", "hydra", "all")
VALUE = re.compile(r"^(\+{0,2})([A-Za-z_][\w.]*)=(.*)$", re.DOTALL)


def normalised(arguments: Sequence[str]) -> list[str]:
    """The arguments in the form that Hydra needs. Raises `KronaError` for what Hydra would silently misread."""
    _check_options(arguments)
    multirun = any(item in ("-m", "--multirun") for item in arguments)
    sweeps = [item for item in arguments if item.lstrip("+").startswith("sweeps=")]
    if len(sweeps) > 1 or any("," in item for item in sweeps):
        raise KronaError(f"{' '.join(sweeps)}: one sweep at a time; give each its own command, they may run at once")
    if sweeps and (name := sweeps[0].partition("=")[2]) != "null":
        require_choices({"sweeps": name})
    ready, known = [], groups()
    for item in arguments:
        key = item.lstrip("+~").split("=", 1)[0]
        if key == "sweeps" and not multirun and not item.startswith("~"):
            raise KronaError(f"{item} is a sweep of many runs: python train.py -m {item}")
        if key == "hydra/launcher" and not multirun:
            raise KronaError(f"{item} says where the runs of a multirun go: python train.py -m … {item}")
        if key in known and key not in OPTIONAL and (item == f"{key}=null" or item.startswith("~")):
            raise KronaError(f"{item}: a run needs a {key}; there are: {', '.join(choices(key))}")
        if key in known and "=" in item:
            with suppress(HydraException):  # what can't be read is told later
                require_names([OverridesParser.create().parse_override(item)])
        if item in ("recipe=null", "callbacks=null", "logger=null"):  # they have a default, and Hydra takes no null
            ready.append(f"~{key}")
        elif item.split(STUDIES)[0] == "recipe=tuned":  # the recipe stays; its learning rate comes from a search
            ready.append(item.replace("recipe=tuned", TUNED, 1))
        elif not (key in OPTIONAL and item == f"{key}=null"):  # that is the default
            ready.append(f"++{item}" if absent_from_yaml(key, arguments) and item.startswith(key) else item)
    if any(item in ("--cfg", "-c") for item in ready) and "--resolve" not in ready:
        ready.append("--resolve")  # plain values
    return flags_first(ready)


def absent_from_yaml(key: str, arguments: Sequence[str]) -> bool:
    """Whether a method's YAML leaves this key of its signature out: Hydra adds such a key only with ++."""
    group, _, name = key.partition(".")
    if group != "method" or not name:
        return False
    chosen = next((item.removeprefix("method=") for item in arguments if item.startswith("method=")), "")
    known = choice_files("method")
    files = [known[method] for method in chosen.split(",") if method in known]
    return any(name not in yaml.safe_load(file.read_text())["method"] for file in files) or not chosen


def several_values(overrides: Sequence[str]) -> str | None:
    """The first override that gives several values, as a sweep's does; None without one."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return next((override.input_line for override in parsed if override.is_sweep_override()), None)


def _check_options(arguments: Sequence[str]) -> None:
    """Raise for an unknown option: Hydra's own message fills a page."""
    known = [name for action in option_parser()._actions for name in action.option_strings]
    for item, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        name, equals, value = item.partition("=")
        if not item.startswith("-"):
            continue
        if name == "--dry-run":
            raise KronaError("--dry-run is an option of krona table; krona status NAME shows how far a sweep is")
        if name not in known and not any(option.startswith(name) for option in known if name.startswith("--")):
            raise KronaError(f"{name} is no option; {did_you_mean(name, [o for o in known if o.startswith('--')])}")
        value = value if equals else following
        if name in ("--cfg", "-c") and value not in CFG:
            raise KronaError(f"{f'{name} {value}'.strip()}: show what? {did_you_mean(value, CFG)}")


def flags_first(arguments: Sequence[str]) -> list[str]:
    """Flags before overrides: Hydra's parser needs all overrides side by side."""
    flags: list[str] = []
    overrides: list[str] = []
    for item in arguments:
        takes_it = bool(flags) and flags[-1] in WITH_A_VALUE and "=" not in item
        (flags if item.startswith("-") or takes_it else overrides).append(item)
    return [*flags, *overrides]


@contextmanager
def explained(arguments: Sequence[str] = ()) -> Iterator[None]:
    """Raise Hydra's and OmegaConf's errors as `KronaError` (`explain`)."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise KronaError(explain(error, arguments)) from error


def explain(error: Exception, arguments: Sequence[str] = ()) -> str:
    """An error of Hydra in one line: what is wrong, and the names that exist."""
    cause: BaseException = error
    while isinstance(cause, HydraException) and isinstance(
        cause.__cause__, KronaError | HydraException | OmegaConfBaseException
    ):
        cause = cause.__cause__
    if isinstance(cause, KronaError):
        return str(cause)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; hydra.run.dir and hydra.sweep.dir need a folder to write to"
    text = str(error)
    if option := re.search(r"Could not (?:find|load) '(hydra/launcher|\w+)/(.+?)'", text):
        group, name = option.groups()
        return no_such(group, name)
    if key := re.search(r"Could not (?:override|delete)[^']*'([^']+)'", text):
        return _explain_key(key[1], arguments)
    if merge := re.search(r"Error merging override ([^=]+)=(.*)", text):
        return f"{merge[1]}={merge[2]}: it has keys and values, and takes them only: {merge[1]}={{KEY: VALUE}}"
    if isinstance(cause, OverrideParseException):
        return f"{cause.override}: can't be read ({text.splitlines()[0]}); key=value, and lists as [[32,24],[24,32]]"
    lines = [line.strip() for line in text.split("Config search path")[0].splitlines() if line.strip()]
    hidden = ("Set the environment", "full_key:", "object_type=", "See https://hydra.cc")
    return " ".join(line for line in lines if not line.startswith(hidden)) or type(error).__name__


def _explain_key(key: str, arguments: Sequence[str]) -> str:
    """Return the check's message for a command with a key that Hydra does not know."""
    from krona.config import check  # pydantic, which a correct command needs later or not at all

    typed = [item for item in arguments if VALUE.match(item) and not item.startswith(("hydra", "sweeps=", "+sweeps="))]
    known = groups()
    try:
        with hydra_session():
            job = [item.lstrip("+") for item in jobs_of({}, typed)[0]]
            choices = [item for item in job if item.partition("=")[0] in known]
            check.settings(
                compose_job([*choices, *(f"++{item}" for item in job if item not in choices)]).config, own=True
            )
    except KronaError as error:
        return str(error) if key in str(error) else unknown_key(key)
    except (HydraException, OmegaConfBaseException):
        return unknown_key(key)
    return f"{key} is in no YAML of this run, but can be set: ++{key}=VALUE"
