"""The fixtures that many tests share, such as a backbone in a folder."""

import gc
import multiprocessing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parent.parent


def visible_entries() -> set[str]:
    return {path.name for path in PROJECT.iterdir() if not path.name.startswith((".", "__"))}  # without caches


@pytest.fixture(autouse=True)
def leaves_nothing_in_the_clone() -> Iterator[None]:
    before = visible_entries()
    yield
    assert visible_entries() <= before, "A test created files in the project's folder. Use tmp_path."


@pytest.fixture(scope="session", autouse=True)
def collects_only_objects_of_tests() -> None:
    """Exclude imported modules from garbage collection. With them, a collection takes 0.4 s, and each run has two."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def reads_conf_once() -> Iterator[None]:
    """Read each choice of krona's own conf/ once. Composing takes 0.05 s, and many tests compose the same choices."""
    from krona import paths
    from krona.config.hydra_interface import ConfReader

    compose, known = ConfReader.compose, dict[tuple[str, ...], Any]()

    def compose_once(reader: ConfReader, choices: Sequence[Any]) -> Any:
        if (paths.conf_folders(), paths.sweeps_folders()) != ([paths.CONF], [paths.SWEEPS]):
            return compose(reader, choices)
        key = tuple(str(choice.input_line) for choice in choices)
        if key not in known:
            known[key] = compose(reader, choices)
        return known[key]  # `compose_job` copies it

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfReader, "compose", compose_once)
        yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a T5 with d_model 32 and its own tokenizer, for backbone.path."""
    from tiny_backbones import write_backbone  # it imports transformers, which many tests do not need

    return write_backbone(tmp_path_factory.mktemp("backbone") / "tiny")


@pytest.fixture(scope="session")
def small(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the overrides of a small run on this T5. A test that changes the data needs files of its own."""
    from one_job import typed

    return typed(tiny_folder, tmp_path_factory.mktemp("data") / "glue")


@pytest.fixture(scope="session")
def processes() -> Any:
    """Return a context for processes that start with the modules of a run already imported."""
    context = multiprocessing.get_context("forkserver")
    modules = ["krona.training.run", "krona.training.progress", "one_job"]
    modules += ["datasets"]  # takes as long as the rest of a short run
    context.set_forkserver_preload(modules)
    return context
