"""Reachability of the Hugging Face Hub, and its local cache.

Without a network the libraries retry for about half a minute. So one request first asks whether the Hub answers; if it
does not, only the local caches are tried.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from krona.messages import KronaError

TIMEOUT_S = 8.0  # seconds for the one request
MIRROR = "HF_ENDPOINT=URL of a mirror"


def endpoint() -> str:
    """The Hub's address, or its mirror's."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def unreachable(path: str = "", *, timeout_s: float = TIMEOUT_S) -> str | None:
    """Why the Hub does not answer, or None. "Not found" counts as an answer: the libraries explain it better."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE or os.environ.get("HF_DATASETS_OFFLINE"):
        return "HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set"
    try:
        status = get_session().head(f"{endpoint()}/{path}", timeout=timeout_s).status_code
    except Exception as error:  # the client's transport raises many kinds
        return " ".join(str(error).split()) or type(error).__name__
    return f"it answers with status {status}" if status >= 500 else None


@contextmanager
def offline() -> Iterator[None]:
    """Let the libraries look only into their caches; they read their flag at each call."""
    import datasets.config
    from huggingface_hub import constants

    before, shown = (datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE), datasets.logging.get_verbosity()
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    datasets.logging.set_verbosity_error()  # it warns at each use of its cache
    try:
        yield
    finally:
        datasets.logging.set_verbosity(shown)
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def model_is_cached(repository: str) -> bool:
    """Whether the Hub's cache holds weights of the model ``repository``."""
    from huggingface_hub import constants

    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return any(any(snapshots.glob(f"*/{name}")) for name in ("*.safetensors", "*.bin"))


def download_error(what: str, error: Exception, ways_out: str) -> KronaError:
    """A loading error in one line."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return KronaError(f"{what} can't be loaded: {first[:300]}. Ways out: {ways_out}")
