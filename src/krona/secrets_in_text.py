"""Mask secrets before they are stored, logged or sent, and folders in files that are published."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"
KEY = (  # matches the names of keys with secret values, but not those of a tokenizer's tokens, such as eos_token
    r"(?:[\w-]*[_-])?(?:(?:api|access|account|private)[_-]?key|secret\w*|password|passwd|pwd|passphrase|credentials?|"
    r"authorization|cookies?|web_?hook\w*)|(?!(?:\w+_)?(?:bos|cls|eos|mask|pad|sep|start|unk)_token)[\w-]*token|auth"
)
SERVICES = re.compile(r"\b(logger|callbacks|hydra)\b")  # sections of a config that may contain secrets
NOT_ENV = r"(?![\"']?\$\{)"  # an interpolation such as ${oc.env:KEY} is not a secret
QUOTED = r"\"[^\"]*\"|'[^']*'"
# In the patterns, the first group is kept and the rest of the match is masked. Hydra writes the colons in a sweep's
# overrides as \: and the equal signs as \=.
URL = re.compile(rf"(\w\\?://(?!git@|\$)(?:[^/@:\s]*:)?+){NOT_ENV}[^/\s]+(?=@)")  # scheme://user:password@host
OVERRIDE = re.compile(rf"([+~]*(?:[\w@/-]+\.)*(?:{KEY})=){NOT_ENV}.+", re.IGNORECASE)
ASSIGNED = re.compile(
    rf"((?<![\w-])(?:{KEY})[\"']?\s*[=:]\s*+){NOT_ENV}(?:{QUOTED}|(?:\\.|[^\n,}}'\"])+)", re.IGNORECASE
)
CHARACTER = r"[^\s/'\"<>&]"  # a character of a name in a path
FOLDERS = re.compile(
    rf"(?<![\w:/.<~])~?/(?:{CHARACTER}+/)+?((?:{CHARACTER}+/)?result\.json\b|{CHARACTER}*(?!{CHARACTER}|/))"
)


def mask_secrets(value: Any, *, known: Iterable[str] = (), _hide: bool = False) -> Any:
    """Return a copy of a value, list or mapping with ``***`` in place of each secret.

    Secrets are the values of keys such as ``api_key`` or ``Authorization``, the same in overrides of a logger, a
    callback or Hydra (``logger.x.api_key=…``), passwords in URLs, and the known texts.

    An interpolation such as ``${oc.env:KEY}`` is not a secret. The keys of the section ``task`` are names of labels and
    columns, so this section is not changed.

    Args:
        known: texts that are secrets.
    """
    if isinstance(value, Mapping):
        return {
            key: item
            if key == "task" and isinstance(item, Mapping)
            else mask_secrets(item, known=known, _hide=_hide or is_secret(str(key)))
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [mask_secrets(item, known=known, _hide=_hide) for item in value]
    if _hide:
        is_open = value is None or isinstance(value, bool) or value == "" or str(value).startswith("${")
        return value if is_open else MASK
    if not isinstance(value, str):
        return value
    if SERVICES.search(value):
        if (override := OVERRIDE.fullmatch(value)) is not None:
            return f"{override[1]}{MASK}"
        value = ASSIGNED.sub(rf"\1{MASK}", value)
    value = URL.sub(rf"\1{MASK}", value)
    for secret in sorted(known, key=len, reverse=True):
        value = value.replace(secret, MASK)
    return value


def is_secret(key: str) -> bool:
    """Return whether the name of a key or of an environment variable indicates a secret value."""
    return re.fullmatch(KEY, key, re.IGNORECASE) is not None


def strip_folders(text: str) -> str:
    """Return a text in which each absolute path is shortened to its file name, or to ``RUN/result.json``."""
    return FOLDERS.sub(r"\1", text)
