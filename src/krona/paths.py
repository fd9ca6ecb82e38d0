"""Define the version, find the project, config, sweep and result folders, and import modules that a config names."""

import os
import sys
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType

VERSION = "0.1.0"
_SHIPPED = Path(__file__).resolve().with_name("shipped")  # contains conf/ and sweeps/ in an installed package
INSTALLED = _SHIPPED.is_dir()  # true for a wheel; false in the repository, also after `pip install -e`
PROJECT = _SHIPPED if INSTALLED else Path(__file__).resolve().parents[2]
CONF = PROJECT / "conf"
SWEEPS = PROJECT / "sweeps"
PAPER = SWEEPS / "paper"  # contains a CSV file for each table of the paper
NO_SWEEPS = ("tune", "wandb")  # subfolders of sweeps/ with files for `krona tune` and W&B agents, not sweeps
NANO = Path(__file__).parent / "backbones" / "nano"  # the small T5 that comes with the package
_BASE = Path.cwd() if INSTALLED or Path("conf").is_dir() else PROJECT  # a user's own project has its own conf/
OUTPUTS = Path(os.environ.get("KRONA_OUTPUTS") or _BASE / "outputs").absolute()  # on a cluster, a shared folder


def conf_folders() -> list[Path]:
    """Return the config folders in order of precedence: KRONA_CONF (set by --config-dir), ./conf, krona's own conf/."""
    named = [Path(folder).resolve() for folder in (os.environ.get("KRONA_CONF"), "conf") if folder]
    own = dict.fromkeys(folder for folder in named if folder.is_dir() and folder != CONF)
    return [*own, CONF]


def sweeps_folders() -> list[Path]:
    """Return the folders of sweeps in order of precedence.

    These are the folder sweeps/ next to each of the user's conf/ folders, ./sweeps, and krona's own sweeps/.
    """
    folders = [*(conf.parent / "sweeps" for conf in conf_folders()[:-1]), Path("sweeps").resolve(), SWEEPS]
    return [*dict.fromkeys(folder for folder in folders if folder.is_dir())]


def choice_files(group: str) -> dict[str, Path]:
    """Return the YAML files of a config group by choice name.

    A choice name is a path in the group's folder without ``.yaml``, such as ``krona/rte`` in the group ``recipe``. If
    several folders contain the same name, the first folder has precedence.
    """
    is_sweep = group == "sweeps"
    files: dict[str, Path] = {}
    for folder in sweeps_folders() if is_sweep else [conf / group for conf in conf_folders()]:
        for path in folder.glob("**/*.yaml"):
            name = path.relative_to(folder).with_suffix("")
            if not (is_sweep and name.parts[0] in NO_SWEEPS):
                files.setdefault(name.as_posix(), path)
    return dict(sorted(files.items()))


def expand(path: str | Path) -> Path:
    """Replace ``~`` in a path by the home folder. ``~NAME`` is kept if no user has this name."""
    return Path(os.path.expanduser(path))


def find_first(folders: list[Path], name: str) -> Path:
    """Return the first existing file with this name in ``folders``, or else the file's path in the last folder."""
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[-1] / name)


def program(name: str) -> list[str]:
    """Return the command that starts ``train`` or ``bench`` in a new process."""
    own = ["-m", "krona", name] if INSTALLED else [str(PROJECT / f"{name}.py")]
    return [sys.executable, *own]


def import_own(name: str) -> ModuleType:
    """Import the module of a ``_target_`` from the installed packages or from the working directory."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end, so that installed modules have precedence
    invalidate_caches()
    return import_module(name)
