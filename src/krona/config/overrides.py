"""Check and normalize the overrides (KEY=VALUE) of a command line, and explain Hydra's errors in one line."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from krona.config.choices import choices, groups, require_choices, require_names, unknown_choice
from krona.config.compose import STUDIES, TUNED, compose_job, hydra_session
from krona.config.hydra_internals import option_parser
from krona.config.multirun import list_jobs
from krona.config.suggestions import find_habit, habits, unknown_key
from krona.formatting import override_text
from krona.messages import KronaError, did_you_mean
from krona.paths import choice_files

OPTIONAL = (  # groups of config.yaml that may be left empty
    "recipe", "factors", "variant", "experiment", "sweeps", "callbacks", "logger",
)  # fmt: skip
WITH_A_VALUE = ("--cfg", "-c", "--package", "-p", "--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd")
CFG = ("job", "hydra", "all")
WRONG_INPUT = (KronaError, HydraException, OmegaConfBaseException, yaml.YAMLError)  # errors without a stack trace
RERUN = "--experimental-rerun"
VALUE = re.compile(r"^(\+{0,2})([A-Za-z_][\w.]*)=(.*)$", re.DOTALL)
PLAIN_VALUE = re.compile(r"(\+{0,2}[A-Za-z_][\w.]*)=([^\[\]{}(),='\"$]*)")  # not a list, dict, sweep or interpolation
UNREADABLE = re.compile(r"[^\x00-\x7f]|[~#&;!<>^`]")  # characters that Hydra reads only in quotes


def normalize(arguments: Sequence[str]) -> list[str]:
    """Return the arguments in the form that Hydra needs. Raise `KronaError` also for what Hydra would misread."""
    _check_options(arguments)
    multirun = any(item in ("-m", "--multirun") for item in arguments)
    sweeps = [item for item in arguments if item.lstrip("+").startswith("sweeps=")]
    if len(sweeps) > 1 or any("," in item for item in sweeps):
        raise KronaError(f"{' '.join(sweeps)} names several sweeps. Use a separate command for each sweep.")
    if sweeps and (name := sweeps[0].partition("=")[2]) != "null":
        require_choices({"sweeps": name})
    ready, known = [], groups()
    if unknown := [line for item in arguments if (line := _find_key_of_another_tool(item, known))]:
        raise KronaError("\n".join(unknown))
    for item in map(_quote, arguments):
        key = item.lstrip("+~").split("=", 1)[0]
        _check_item(item, key, known, multirun=multirun)
        if item in ("recipe=null", "callbacks=null", "logger=null"):  # these have a default; Hydra needs ~
            ready.append(f"~{key}")
        elif item.split(STUDIES)[0] == "recipe=tuned":  # keep the recipe; a search gives the learning rate
            ready.append(item.replace("recipe=tuned", TUNED, 1))
        elif not (key in OPTIONAL and item == f"{key}=null"):  # null is the default
            ready.append(f"++{item}" if _is_default_argument(key, arguments) and item.startswith(key) else item)
    if any(item in ("--cfg", "-c") for item in ready) and "--resolve" not in ready:
        ready.append("--resolve")  # print plain values
    return _move_flags_first(ready)


def _quote(item: str) -> str:
    """Return an override with quotes around its value if Hydra could not read it, as in ``data.path=~/glue``."""
    found = PLAIN_VALUE.fullmatch(item)
    if found is None or not UNREADABLE.search(found[2]):
        return item
    return f"{found[1]}={override_text(found[2])}"


def _find_key_of_another_tool(item: str, known: Sequence[str]) -> str | None:
    """Return the message for a key of suggestions.yaml, with krona's own key and the whole value, or None.

    A branch or an optimizer may have an argument of this name, so their keys are checked later.
    """
    key, equals, value = item.lstrip("+").partition("=")
    section = key.partition(".")[0]
    if not equals or key in known or section in ("method", "optimizer"):
        return None
    return unknown_key(key, value=value) if {key, f"{section}.*"} & habits().keys() else None


def _check_item(item: str, key: str, known: Sequence[str], *, multirun: bool) -> None:
    if key == "sweeps" and not multirun and not item.startswith("~"):
        raise KronaError(f"{item} is a sweep of many runs and needs -m. Run: python train.py -m {item}")
    if key == "hydra/launcher" and not multirun:
        raise KronaError(f"{item} starts the runs of a sweep and needs -m. Run: python train.py -m … {item}")
    if key == "hydra/sweeper" and (habit := find_habit(key, item.partition("=")[2])):
        raise KronaError(f"{item} is not supported{habit}")
    if key in known and key not in OPTIONAL and (item == f"{key}=null" or item.startswith("~")):
        raise KronaError(f"{item} is not possible, because a run needs a {key}. Choose from {', '.join(choices(key))}.")
    if key in known and "=" in item:
        with suppress(HydraException):  # Hydra reports an override that cannot be parsed
            require_names([OverridesParser.create().parse_override(item)])


def _check_options(arguments: Sequence[str]) -> None:
    """Raise `KronaError` for an unknown or unsupported option. Hydra's own message would be a page long."""
    known = [name for action in option_parser()._actions for name in action.option_strings]
    for item, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        name, equals, value = item.partition("=")
        if not item.startswith("-"):
            continue
        if name == RERUN:
            raise KronaError(
                f"{RERUN} loads a pickle, which can run code. No file of a run is a pickle. Repeat the command "
                "of the run instead. The run's overrides are in RUN/.hydra/overrides.yaml."
            )
        if name == "--dry-run":
            raise KronaError("--dry-run is an option of krona table. krona status NAME shows the progress of a sweep.")
        if name not in known and not any(option.startswith(name) for option in known if name.startswith("--")):
            from krona.config.settings import Run  # imports pydantic, which a correct command needs later or never

            key = name.lstrip("-").replace("-", "_")
            value = value if equals else following
            given = None if value.startswith("-") else value or None
            is_setting = key in groups() or key in Run.__dataclass_fields__
            habit = f". Instead: {key}={given or 'VALUE'}" if is_setting else find_habit(key, given)
            near = did_you_mean(name, [option for option in known if option.startswith("--")])
            raise KronaError(f"{name} is not an option{habit or f': {near}. Settings have the form key=value.'}")
        value = value if equals else following
        if name in ("--cfg", "-c") and value not in CFG:
            raise KronaError(f"{f'{name} {value}'.strip()}: {did_you_mean(value, CFG)}")


def _is_default_argument(key: str, arguments: Sequence[str]) -> bool:
    """Return whether ``key`` is a branch argument that the method's YAML lacks, which Hydra sets only with ``++``."""
    group, _, name = key.partition(".")
    if group != "method" or not name:
        return False
    chosen = next((item.removeprefix("method=") for item in arguments if item.startswith("method=")), "")
    known = choice_files("method")
    files = [known[method] for method in chosen.split(",") if method in known]
    values = [(yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("method") or {} for file in files]
    return any(name not in own for own in values) or not chosen


def find_sweep(overrides: Sequence[str]) -> str | None:
    """Return the first override that gives several values, or None."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return next((override.input_line for override in parsed if override.is_sweep_override()), None)


def _move_flags_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with all options first, because Hydra's parser needs all overrides in one sequence."""
    flags: list[str] = []
    overrides: list[str] = []
    for item in arguments:
        is_value = bool(flags) and flags[-1] in WITH_A_VALUE and "=" not in item
        (flags if item.startswith("-") or is_value else overrides).append(item)
    return [*flags, *overrides]


@contextmanager
def translate_errors(arguments: Sequence[str] = ()) -> Iterator[None]:
    """Convert errors of Hydra, OmegaConf and YAML to `KronaError`, with the message of `explain`."""
    try:
        yield
    except WRONG_INPUT as error:
        raise KronaError(explain(error, arguments)) from error


def explain(error: Exception, arguments: Sequence[str] = ()) -> str:
    """Return a message for one of `WRONG_INPUT`, usually one line. It contains the problem and the known names."""
    cause: BaseException = error
    while isinstance(cause, HydraException) and isinstance(
        cause.__cause__, KronaError | HydraException | OmegaConfBaseException
    ):
        cause = cause.__cause__
    if isinstance(cause, KronaError):
        return str(cause)
    if isinstance(cause, yaml.YAMLError):  # its message has the file, the line and the column
        return f"A YAML file can't be read: {' '.join(str(cause).split())}"
    if isinstance(error, OSError) and error.filename:
        return (
            f"{error.filename} can't be used: {error.strerror}. The folder of the results (KRONA_OUTPUTS, "
            "hydra.run.dir or hydra.sweep.dir) must be writable."
        )
    text = str(error)
    if option := re.search(r"Could not (?:find|load) '(hydra/launcher|\w+)/(.*?)'", text):
        return unknown_choice(option[1], option[2])
    if key := re.search(r"Could not (?:override|delete)[^']*'([^']+)'", text):
        return _explain_key(key[1], arguments)
    if several := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return _explain_values(several[1])
    if twice := re.search(r"Multiple values for (\w+)\.", text):
        return f"The command has several choices for {twice[1]}. Write {twice[1]}=NAME once and without +."
    if merge := re.search(r"Error merging override \+*([^=]+)=(.*)", text):
        name, value = merge.groups()
        if value.startswith("{"):
            return f"{name}={value} must be a list, such as {name}=[VALUE]."
        if re.match(r"\w+\(", value) or ("," in value and not value.startswith("[")):
            return _explain_values(f"{name}={value}")
        habit = find_habit(name, value) or f" must have keys and values, such as {name}={{KEY: VALUE}}"
        return f"{name}={value}{habit}"
    if isinstance(cause, OverrideParseException):
        return (
            f"{cause.override} can't be read: {text.splitlines()[0]}. Write KEY=VALUE, lists as [[32,24],[24,32]], and "
            "texts with commas, brackets or quotes as \"KEY='TEXT'\"."
        )
    lines = [line.strip() for line in text.split("Config search path")[0].splitlines() if line.strip()]
    hidden = ("Set the environment", "full_key:", "object_type=", "See https://hydra.cc")
    return " ".join(line for line in lines if not line.startswith(hidden)) or type(error).__name__


def _explain_values(item: str) -> str:
    key, _, values = item.partition("=")
    as_list = "" if "(" in values else f" To set a list, write {key}=[{values}]."
    return f"{item} has several values. To start several runs, add -m.{as_list}"


def _explain_key(key: str, arguments: Sequence[str]) -> str:
    """Return the message for a key that Hydra does not know. Use the message of `krona.config.check` if possible."""
    from krona.config import check  # imports pydantic, which a correct command needs later or never

    given = [item for item in arguments if VALUE.match(item) and not item.startswith(("hydra", "sweeps=", "+sweeps="))]
    value = next((item.partition("=")[2] for item in given if item.lstrip("+").startswith(f"{key}=")), None)
    tracker = re.match(r"logger\.(\w+)\.", key)
    if tracker and tracker[1] in choices("logger") and not any(item.startswith("logger=") for item in given):
        return f"To set {key}, add logger={tracker[1]} to the command."
    known = groups()
    try:
        with hydra_session():
            job = [item.lstrip("+") for item in list_jobs({}, given)[0]]
            chosen = [item for item in job if item.partition("=")[0] in known]
            values = [f"++{item}" for item in job if item not in chosen]
            check.settings(compose_job([*chosen, *values]).config, own=True)
    except KronaError as error:
        return str(error) if key in str(error) else unknown_key(key, value=value)
    except WRONG_INPUT:
        return unknown_key(key, value=value)
    return f"The config of this run does not have the key {key}. To add it, write ++{key}={value or 'VALUE'}"
