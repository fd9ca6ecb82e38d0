"""List the config groups (the folders of conf/) and their choices, report choices that do not exist, and read YAML."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Glob, Override
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from krona.messages import KronaError, did_you_mean
from krona.paths import choice_files, conf_folders

TARGET = re.compile(r"""_target_["']?\s*[:=]\s*["']?([\w.]+)""")  # captures the dotted path in a YAML file


def groups() -> list[str]:
    """Return the names of all config groups: ``sweeps``, and the subfolders of krona's and the user's conf/."""
    names = {path.name for conf in conf_folders() for path in conf.iterdir() if path.is_dir()}
    return [*sorted(names - {"hydra", "sweeps"}), "sweeps"]


def choices(group: str) -> list[str]:
    """Return the names of a group's choices."""
    return list(choice_files(group))


def own_targets() -> set[str]:
    """Return the dotted paths of all classes that krona's or the user's conf/ names. krona trusts these classes."""
    return {
        path
        for folder in conf_folders()
        for file in folder.rglob("*.yaml")
        for path in TARGET.findall(file.read_text(encoding="utf-8", errors="replace"))
    }


def without_families(methods: Sequence[str]) -> list[str]:
    """Return the methods without those of a family, such as ``peft``, ``peft/oft`` and the other names of these."""
    families = {name.partition("/")[0] for name in methods if "/" in name}
    return [name for name in methods if name.partition("/")[0] not in families and not is_alias(name)]


def is_alias(method: str) -> bool:
    """Return whether a method's file is another name of a family's file, such as ``vera`` of ``peft/vera``."""
    text = choice_files("method")[method].read_text(encoding="utf-8", errors="replace")
    return re.search(r"^  - \w+/", text, re.MULTILINE) is not None and "\n  name:" not in text


def is_overridden(key: str, overrides: Sequence[str]) -> bool:
    """Return whether one of the overrides sets ``key``."""
    return any(re.sub(r"^[+~]+", "", item).split("=", 1)[0].split("@")[0] == key for item in overrides)


def require_names(overrides: Iterable[Override]) -> None:
    """Raise `KronaError` if an override chooses a file that does not exist in its config group."""
    known = groups()
    for override in overrides:
        group = override.key_or_group
        if (
            group not in known
            or override.is_delete()
            or (override.is_sweep_override() and not override.is_choice_sweep())
        ):
            continue
        if isinstance(override.value(), Glob):  # a glob selects only existing files
            continue
        for value in override.sweep_iterator() if override.is_sweep_override() else [override.value()]:
            for name in value if isinstance(value, list) else [value]:
                text = str(name).strip("'\"")
                if name is None:
                    raise KronaError(f"{group}=null is not possible. To choose no file, write ~{group}.")
                if text not in choices(group):
                    raise KronaError(unknown_choice(group, text))


def unknown_choice(group: str, name: str) -> str:
    """Return the message for a choice that does not exist, with a suggestion or a list of the group's choices."""
    more = ""
    if group == "task":
        more = ". To make a task of your own data, run: krona init NAME --from FILE"
    elif group == "backbone":
        more = f". To use a model of the Hub, set backbone=hub backbone.name={name}"
    elif group == "factors":
        shape = re.fullmatch(r"(\d+)x(\d+)", name)
        sides = f"[[{shape[1]},{shape[2]}]]" if shape else "[[a1,a2]]"
        more = f". To use another shape of A, set method.kron_factors={sides}. The shape of B follows from the layer"
    return f"{group}={name} does not exist: {did_you_mean(name, choices(group))}{more}"


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, or {} if the file contains no mapping. As in Hydra, ``1e-3`` is a number.

    Raises:
        KronaError: the file cannot be read, or is not valid YAML.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OSError, OmegaConfBaseException, YAMLError) as error:
        raise KronaError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}
