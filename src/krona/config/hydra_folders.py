"""Hydra's conventions for folders: where runs go, and the record of a run's config in ``.hydra/``."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from krona.config.compose import Composed
from krona.messages import KronaError
from krona.paths import OUTPUTS


def outputs_of(hydra: Any, *, multirun: bool) -> Path:
    """The folder of the runs' folders: ``hydra.run.dir`` or ``hydra.sweep.dir`` if they are typed, else outputs/.

    Raises:
        KronaError: ``hydra.sweep.subdir``: a run's folder is named after its settings, so that it can resume.
    """
    if multirun and str(hydra.sweep.subdir) != ".":
        raise KronaError(
            f"hydra.sweep.subdir={hydra.sweep.subdir}: a run's folder is named after its settings, so that the same "
            "command resumes it; hydra.sweep.dir=FOLDER says where these folders are"
        )
    typed = Path(str(hydra.sweep.dir if multirun else hydra.run.dir))
    typed = typed if typed.is_absolute() else Path(str(hydra.runtime.cwd)) / typed
    return OUTPUTS if multirun and typed == OUTPUTS / "sweeps" else typed


def record(composed: Composed) -> dict[str, str]:
    """The files of a run's ``.hydra/`` by name: the resolved config, its overrides, Hydra's own settings."""
    files = {
        "config.yaml": OmegaConf.to_yaml(OmegaConf.create(composed.config)),
        "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(list(composed.overrides))),
    }
    if composed.hydra is not None:
        files["hydra.yaml"] = OmegaConf.to_yaml(OmegaConf.create({"hydra": composed.hydra}))
    return files


def refuse_rerun(arguments: Sequence[str]) -> None:
    """Raise for ``--experimental-rerun FILE``, with the command that does the same from the record beside the file."""
    option = "--experimental-rerun"
    at = next((number for number, item in enumerate(arguments) if item.split("=", 1)[0] == option), None)
    if at is None:
        return
    file = Path(arguments[at].partition("=")[2] or next(iter(arguments[at + 1 :]), ""))
    others = " ".join(shlex.quote(item) for item in [*arguments[:at], *arguments[at + 1 :]] if item != str(file))
    overrides = file.parent / "overrides.yaml"
    try:
        known: Any = yaml.safe_load(overrides.read_text(encoding="utf-8"))
        command = shlex.join(["python", "train.py", *(str(item) for item in known)])
        way_out = f"the run's own command: {command}{' ' + others if others else ''}"
    except (OSError, yaml.YAMLError, TypeError):
        way_out = "type the run's command again; its overrides are in RUN/.hydra/overrides.yaml"
    raise KronaError(f"{option} loads a pickle, which can run code: krona writes and loads none. Instead, {way_out}")
