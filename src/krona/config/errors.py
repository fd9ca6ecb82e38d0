"""Convert errors of Hydra, OmegaConf and YAML, which a user's input causes, to the messages of krona."""

from collections.abc import Iterator
from contextlib import contextmanager

import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from krona.config.choices import groups, unknown_choice
from krona.messages import KronaError, first_line, unknown_key

WRONG_INPUT = (KronaError, HydraException, OmegaConfBaseException, yaml.YAMLError)  # user errors, without a stack trace


@contextmanager
def translate_errors() -> Iterator[None]:
    """Convert an error of Hydra, OmegaConf or YAML to a `KronaError` with the message from `explain`.

    The functions that call Hydra (`normalize`, `compose_job` and `expand`) have this function as a decorator.
    """
    try:
        yield
    except KronaError:
        raise
    except WRONG_INPUT as error:
        raise KronaError(explain(error)) from error


def explain(error: Exception) -> str:
    """Return the message of a command-line error: a `KronaError`'s message, or the first line of Hydra's message."""
    # A resolver raises `KronaError`, from which OmegaConf and Hydra raise their own errors.
    origin: BaseException = error
    while origin.__cause__ is not None and not isinstance(origin, KronaError):
        origin = origin.__cause__
    if isinstance(origin, KronaError):
        return str(origin)
    if isinstance(error, yaml.YAMLError):  # the message contains the file, the line and the column
        return f"A YAML file cannot be read: {' '.join(str(error).split())}"
    if isinstance(error, OSError) and error.filename:
        return (
            f"{error.filename} cannot be used: {error.strerror}. The folder of the results (KRONA_OUTPUTS, "
            "hydra.run.dir or hydra.sweep.dir) must be writable."
        )
    if isinstance(error, MissingConfigException):
        group, _, name = str(error.missing_cfg_file).partition("/")
        if group in groups():  # the choice is named by a file, such as an experiment
            return unknown_choice(group, name)
    line = first_line(error)
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} cannot be read: {line}. Write KEY=VALUE, lists as [[32,24],[24,32]], and texts with "
            "commas, brackets, quotes or other signs as \"KEY='TEXT'\"."
        )
    cause = error.__cause__ or error
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and isinstance(cause.parent_node, DictConfig):
        config = {str(key): value for key, value in cause.parent_node.items_ex(resolve=False) if key != "hydra"}
        key = str(cause.full_key)
        line = unknown_key(key, config)
        return f"{line}{'' if line.endswith('?') else '.'} To add a key that no YAML file sets, write +{key}=VALUE."
    if isinstance(cause, OmegaConfBaseException) and cause is not error:
        line += f": {first_line(cause)}"
    return line
