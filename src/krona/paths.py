"""Paths of the project, its configs, a user's own, its results and the files that it ships."""

import os
import sys
from pathlib import Path

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


def see_own_modules() -> None:
    """Let ``_target_`` name modules of the working directory. They come last: none can stand in for a library."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
