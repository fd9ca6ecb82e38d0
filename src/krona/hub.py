"""The Hub, or its absence: said once, quickly and with the ways out."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from krona.errors import KronaError

CONNECT_S = 5.0


def require_reachable(what: str, repository: str, ways_out: str) -> None:
    """Raise within seconds where ``repository`` is neither cached nor to be had.

    The libraries' own retries take minutes without a network. A copy in the cache needs none.
    """
    if is_cached(repository):
        return
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    address = urlsplit(endpoint)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        raise KronaError(f"{what} is not in the cache, and HF_HUB_OFFLINE forbids the network. Ways out: {ways_out}")
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY")):
        return  # the proxy is the one to ask
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=CONNECT_S).close()
    except OSError as error:
        raise KronaError(
            f"{what} is not in the cache, and the Hub ({endpoint}) can't be reached: {error.strerror or error}. "
            f"Ways out: {ways_out}"
        ) from error


def is_cached(repository: str) -> bool:
    """Whether the Hub's cache holds a snapshot of the model ``repository``."""
    from huggingface_hub import constants

    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return any(snapshots.glob("*/config.json"))


def download_error(what: str, error: Exception, ways_out: str) -> KronaError:
    """A loading error in one line."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return KronaError(f"{what} can't be loaded: {first[:300]}. Ways out: {ways_out}")
