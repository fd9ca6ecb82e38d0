"""Paths of the project, its configs, a user's own, its results and the files that it ships."""

import os
import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
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
    """Where configs are searched, first to last: KRONA_CONF (set by --config-dir), conf/ here, and krona's own."""
    named = [Path(folder).resolve() for folder in (os.environ.get("KRONA_CONF"), "conf") if folder]
    own = dict.fromkeys(folder for folder in named if folder.is_dir() and folder != CONF)
    return [*own, CONF]


def sweeps_folders() -> list[Path]:
    """Where sweeps are searched, first to last: beside a user's own conf/, in the working directory, krona's own."""
    found = [*(conf.parent / "sweeps" for conf in conf_folders()[:-1]), Path("sweeps").resolve(), SWEEPS]
    return [*dict.fromkeys(folder for folder in found if folder.is_dir())]


def choice_files(group: str) -> dict[str, Path]:
    """The YAMLs of a group by name (``krona/rte`` in recipe). The first folder's goes before others of that name."""
    found: dict[str, Path] = {}
    if group == "sweeps":  # its subfolders belong to krona tune and to W&B's agents
        listed = [(folder, path) for folder in sweeps_folders() for path in folder.glob("*.yaml")]
    else:
        folders = [conf / group for conf in conf_folders()]
        listed = [(folder, path) for folder in folders for path in folder.rglob("*.yaml")]
    for folder, path in listed:
        found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    return dict(sorted(found.items()))


def first_of(folders: list[Path], name: str) -> Path:
    """The first of ``folders``' files of that name; the last folder's if none has it."""
    return next((folder / name for folder in folders if (folder / name).is_file()), folders[-1] / name)


def program(name: str) -> list[str]:
    """The command that starts ``train`` or ``bench`` in a new process."""
    own = ["-P", "-m", "krona", name] if INSTALLED else [str(PROJECT / f"{name}.py")]
    return [sys.executable, *own]


def hide_working_directory() -> None:
    """Take the working directory off ``sys.path``, here and in every Python process that this one starts.

    ``python -m krona`` and an empty entry of PYTHONPATH put it there. Then an optional import of a library, such as
    brotli, would run a file that happens to lie there. It stays where PYTHONPATH names it, where krona itself is
    imported from it, and where it is the folder of the script (``python train.py``).
    """
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    main = sys.modules["__main__"]
    named = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    started = getattr(main, "__file__", None) if getattr(main, "__spec__", None) is None else None  # not by -m
    script = {Path(started).resolve().parent} if started is not None else set()
    here, kept = Path.cwd(), {Path(entry).absolute() for entry in named} | {Path(__file__).parents[1]} | script
    if here not in kept:
        sys.path[:] = [entry for entry in sys.path if Path(entry).absolute() != here]


def import_own(name: str) -> ModuleType:
    """Import a module that a ``_target_`` names: an installed one, or one of the working directory."""
    allow_own([name])
    return import_module(name)


def allow_own(names: Iterable[str]) -> None:
    """Let modules of the working directory be imported by these dotted names, and no other one."""
    if _OWN not in sys.meta_path:
        sys.meta_path.append(_OWN)  # the last: no module there can replace an installed one
    _OWN.named |= {name.partition(".")[0] for name in names}


class _OwnModules(MetaPathFinder):
    """Finds the modules of the working directory that are named, and those that these modules import."""

    def __init__(self) -> None:
        self.named: set[str] = set()
        self.found: set[str] = set()

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if path is not None or not (fullname in self.named or _importer() in self.found):
            return None
        spec = PathFinder.find_spec(fullname, [str(Path.cwd())])
        if spec is not None:
            self.found.add(fullname)
        return spec


def _importer() -> str:
    """The top-level name of the module whose import statement is being executed."""
    frame = sys._getframe(2)
    while frame.f_back is not None and _top_level(frame) in ("importlib", "_frozen_importlib"):
        frame = frame.f_back
    return _top_level(frame)


def _top_level(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


_OWN = _OwnModules()
