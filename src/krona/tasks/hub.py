"""Access the Hugging Face Hub: test whether it can be reached, inspect the local cache, and load data sets.

Without a network, the libraries repeat their requests for about half a minute. To avoid this delay, one request first
tests whether the Hub can be reached. If the Hub cannot be reached, only the local caches are used.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from krona.messages import KronaError, first_line
from krona.tasks.rows import Data, Split, read_official_split
from krona.tasks.task import Task

TIMEOUT_S = 8.0  # seconds that the test request may take
MIRROR = "HF_ENDPOINT=URL of a mirror"
GLUE_ON_DISK = "data=tsv data.path=FOLDER (GLUE's own files; data=jsonl for SuperGLUE)"
LABELLED_SPLITS = ("train", "validation", "validation_matched", "validation_mismatched")


def endpoint() -> str:
    """Return the address of the Hub or of its mirror."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def unreachable(path: str = "") -> str | None:
    """Return the reason why a path on the Hub cannot be reached, or None if it can be reached.

    Also return None if the path does not exist on the Hub, because the libraries report this error better.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE or os.environ.get("HF_DATASETS_OFFLINE"):
        return "HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set"
    try:
        status = get_session().head(f"{endpoint()}/{path}", timeout=TIMEOUT_S).status_code
    except Exception as error:  # the HTTP client raises many types of errors
        return " ".join(str(error).split()) or type(error).__name__
    return f"it responds with status {status}" if status >= 500 else None


@contextmanager
def offline() -> Iterator[None]:
    """Restrict the libraries to their local caches inside this context, by setting their offline flags."""
    from huggingface_hub import constants

    datasets = sys.modules.get("datasets")  # not imported here: the import takes a second, and models do not need it
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    if datasets is not None:
        datasets_before, verbosity = datasets.config.HF_HUB_OFFLINE, datasets.logging.get_verbosity()
        datasets.config.HF_HUB_OFFLINE = True
        datasets.logging.set_verbosity_error()  # the library logs a warning at each use of its cache
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        if datasets is not None:
            datasets.config.HF_HUB_OFFLINE = datasets_before
            datasets.logging.set_verbosity(verbosity)


def model_is_cached(repository: str, revision: str | None) -> bool:
    """Return whether the Hub's local cache contains weights of the model. The default revision is main."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    reference = folder / "refs" / (revision or "main")
    commit = reference.read_text().strip() if reference.is_file() else str(revision)
    return any(any((folder / "snapshots" / commit).glob(name)) for name in ("*.safetensors", "*.bin"))


def is_cached(name: str, config: str, revision: str | None) -> bool:
    """Return whether a configuration of a data set can be loaded without a network, from the local cache."""
    import datasets

    try:
        with offline(), hide_progress():
            datasets.load_dataset_builder(name, config, revision=revision)
    except Exception:  # the libraries raise many types of errors if the data set is not in the cache
        return False
    return True


def download_error(what: str, error: Exception, ways_out: str) -> KronaError:
    """Return the error for a model or data set that could not be loaded, with the first line of the library's error."""
    return KronaError(f"Could not load {what}: {first_line(error)[:300].rstrip('.')}. What you can do: {ways_out}.")


def hub_splits(task: Task, data: Data, *, prefix: bool) -> dict[str, Split]:
    """Return the rows of a task of GLUE or SuperGLUE by official split. The test set has no labels and is omitted."""
    import datasets

    if task.hub_name is None or data.name is None:
        raise KronaError(f"task {task.name}: data=hub needs data.name (such as nyu-mll/glue) and task.hub_name.")
    trouble = unreachable(f"datasets/{data.name}/resolve/main/README.md")  # the file that the library requests first
    try:
        with nullcontext() if trouble is None else offline(), hide_progress():
            loaded = datasets.load_dataset(data.name, task.hub_name, revision=data.revision)
    except Exception as error:  # the libraries raise many types of errors, including those of httpx
        why = trouble or " ".join(str(error).split()) or type(error).__name__
        revision = f", revision {data.revision}" if data.revision else ""
        raise KronaError(
            f"The data set {data.name} ({task.hub_name}{revision}) is not in the local cache, and could not be loaded "
            f"from {endpoint()}: {why.rstrip('.')}. Use profile=demo (sample data without a download), "
            f"{GLUE_ON_DISK}, or {MIRROR}."
        ) from error
    name = f"{data.name} {task.hub_name}"
    return {
        split: read_official_split(
            task, data, split, f"{name} {split}", enumerate(loaded[split].flatten()), prefix=prefix
        )
        for split in LABELLED_SPLITS
        if split in loaded
    }


@contextmanager
def hide_progress() -> Iterator[None]:
    """Hide the progress bars of `datasets` unless the output is a terminal. A bar fills hundreds of lines of a log."""
    import datasets

    enabled = not datasets.are_progress_bars_disabled()
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if enabled:
            datasets.enable_progress_bars()
