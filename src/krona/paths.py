"""Paths of the project, its configs, the user's configs, the results and the shipped files."""

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_SHIPPED = Path(__file__).resolve().with_name("shipped")  # conf/ and sweeps/ in an installed package (setup.py)
INSTALLED = _SHIPPED.is_dir()  # from a wheel; not from the repository, nor by `pip install -e`
PROJECT = _SHIPPED if INSTALLED else Path(__file__).resolve().parents[2]
CONF = PROJECT / "conf"
SWEEPS = PROJECT / "sweeps"
PAPER = SWEEPS / "paper"  # the paper's printed tables, one CSV each
NANO = Path(__file__).parent / "backbones" / "nano"  # the small T5 that comes with the package
OUTPUTS = Path(  # on a cluster, a shared folder
    os.environ.get("KRONA_OUTPUTS") or (Path.cwd() if INSTALLED else PROJECT) / "outputs"
).absolute()


def conf_folders() -> list[Path]:
    """Return the folders of configs in order of precedence: KRONA_CONF (set by --config-dir), ./conf, krona's own."""
    named = [Path(folder).resolve() for folder in (os.environ.get("KRONA_CONF"), "conf") if folder]
    own = dict.fromkeys(folder for folder in named if folder.is_dir() and folder != CONF)
    return [*own, CONF]


def sweeps_folders() -> list[Path]:
    """Return the folders of sweeps in order of precedence: beside a user's conf/, ./sweeps, krona's own."""
    found = [*(conf.parent / "sweeps" for conf in conf_folders()[:-1]), Path("sweeps").resolve(), SWEEPS]
    return [*dict.fromkeys(folder for folder in found if folder.is_dir())]


def choice_files(group: str) -> dict[str, Path]:
    """Return the YAMLs of a group by name (``krona/rte`` in recipe). The first folder with a name has precedence."""
    is_sweep = group == "sweeps"  # its subfolders belong to krona tune and to W&B's agents
    found: dict[str, Path] = {}
    for folder in sweeps_folders() if is_sweep else [conf / group for conf in conf_folders()]:
        for path in folder.glob("*.yaml" if is_sweep else "**/*.yaml"):
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    return dict(sorted(found.items()))


def find_first(folders: list[Path], name: str) -> Path:
    """Return the first file with this name in ``folders``, or its path in the last folder if none has it."""
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[-1] / name)


def program(name: str) -> list[str]:
    """Return the command that starts ``train`` or ``bench`` in a new process."""
    own = ["-P", "-m", "krona", name] if INSTALLED else [str(PROJECT / f"{name}.py")]
    return [sys.executable, *own]


def hide_working_directory() -> None:
    """Remove the working directory from ``sys.path``, here and in every Python process that this one starts.

    ``python -m krona`` and an empty entry of PYTHONPATH put it there, and then an optional import of a library, such as
    brotli, would run a file in it. It stays if PYTHONPATH names it, if krona is imported from it, and if it is the
    folder of the script (``python train.py``).
    """
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    main = sys.modules["__main__"]
    kept = {Path(entry).absolute() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry}
    kept.add(Path(__file__).parents[1])
    script = getattr(main, "__file__", None)
    if script is not None and getattr(main, "__spec__", None) is None:  # not started by -m
        kept.add(Path(script).resolve().parent)
    here = Path.cwd()
    if here not in kept:
        sys.path[:] = [entry for entry in sys.path if Path(entry).absolute() != here]


def import_own(name: str) -> ModuleType:
    """Import a module that a ``_target_`` names: an installed one, or one of the working directory."""
    allow_own([name])
    return import_module(name)


def allow_own(names: Iterable[str]) -> None:
    """Allow imports of modules in the working directory by these dotted names only."""
    if _OWN not in sys.meta_path:
        sys.meta_path.append(_OWN)  # the last: no module there can replace an installed one
    _OWN.named |= {name.partition(".")[0] for name in names}


class _OwnModules(MetaPathFinder):
    """Finds the named modules of the working directory, and the modules that these import."""

    def __init__(self) -> None:
        self.named: set[str] = set()
        self.found: set[str] = set()

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if path is not None or not (fullname in self.named or _importing_module() in self.found):
            return None
        spec = PathFinder.find_spec(fullname, [str(Path.cwd())])
        if spec is not None:
            self.found.add(fullname)
        return spec


def _importing_module() -> str:
    """Return the top-level name of the module whose import statement is being executed."""
    frame = sys._getframe(2)
    while True:
        name = str(frame.f_globals.get("__name__")).partition(".")[0]
        if frame.f_back is None or name not in ("importlib", "_frozen_importlib"):
            return name
        frame = frame.f_back


_OWN = _OwnModules()
