"""Mask secrets before they are stored, logged or sent, and folders in files that are published."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"
KEY = (  # matches the names of keys with secret values, but not those of a tokenizer's tokens, such as eos_token
    r"(?:[\w-]*[_-])?(?:(?:api|access|account|private)[_-]?key|secret\w*|password|passwd|pwd|passphrase|credentials?|"
    r"authorization|cookies?|web_?hook\w*)|(?!(?:\w+_)?(?:bos|cls|eos|mask|pad|sep|start|unk)_token)[\w-]*token|auth"
)
HEADERS = r"(?:\w*_)?headers"
SERVICES = re.compile(r"\b(logger|callbacks|hydra)\b")  # sections of a config that may contain secrets
NOT_ENV = r"(?![\"']?\$\{)"  # an interpolation such as ${oc.env:KEY} is not a secret
QUOTED = r"\"[^\"]*\"|'[^']*'"
# In the patterns, the first group is kept and the rest of the match is masked. Hydra writes the colons in a sweep's
# overrides as \: and the equal signs as \=.
TEXTS = [  # secrets in any text
    re.compile(pattern.replace("NOT_ENV", NOT_ENV), re.IGNORECASE)
    for pattern in (
        r"(\w\\?://[^/@:\s]*:)NOT_ENV[^/\s]+(?=@)",  # scheme://user:password@host
        r"(\w\\?://)(?!git@)NOT_ENV[^/@:\s\\]+(?=@)",  # scheme://token@host
        r"(\w\\?://[^\s'\",}?]*?hook[^\s'\",}?/]*/)NOT_ENV[^\s'\",}?]+",  # the path of a webhook
        r"([?&][\w.-]*(?:key|token|secret|sig|passw|pwd|auth|credential)[\w.-]*\\?=)NOT_ENV[^&\s'\"#,}]+",
        r"(\bBearer\s+)NOT_ENV[^\s'\",}]+",
        r"((?<![a-z\d])(?:password|passwd|pwd|(?:account|access|api)_?key)\s*\\?=\s*)NOT_ENV[^;&\s'\"{}]+",
    )
]
OVERRIDE = re.compile(rf"([+~]*(?:[\w@/-]+\.)*(?:{KEY}|{HEADERS}\.[\w-]+)=){NOT_ENV}.+", re.IGNORECASE)
ASSIGNED = re.compile(
    rf"((?<![\w-])(?:{KEY})[\"']?\s*[=:]\s*+){NOT_ENV}(?:{QUOTED}|(?:\\.|[^\s,}}'\"])+)", re.IGNORECASE
)
HEADER_DICT = re.compile(rf"({HEADERS}[\"']?\s*[=:]\s*)(\{{(?:\$\{{[^}}]*\}}|[^}}])*\}})", re.IGNORECASE)
HEADER = re.compile(rf"((?<=[{{,\s\"'])[\w-]+[\"']?\s*:\s*+){NOT_ENV}(?:{QUOTED}|[^,{{}}]+)")
CHARACTER = r"[^\s/'\"<>&]"  # a character of a name in a path
FOLDERS = re.compile(
    rf"(?<![\w:/.<~])~?/(?:{CHARACTER}+/)+?((?:{CHARACTER}+/)?result\.json\b|{CHARACTER}*(?!{CHARACTER}|/))"
)


def mask_secrets(value: Any, *, known: Iterable[str] = (), _hide: bool = False) -> Any:
    """Return a copy of a value, list or mapping with ``***`` in place of each secret.

    Secrets are

    - values of keys such as ``api_key`` or ``Authorization``, and all values of ``headers``,
    - the same in overrides of a logger, a callback or Hydra (``logger.x.api_key=…``),
    - passwords and tokens in URLs, paths of webhooks, ``Bearer TOKEN``, and ``Password=…`` in the settings of a
      connection.

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
        value = HEADER_DICT.sub(lambda match: match[1] + HEADER.sub(rf"\1{MASK}", match[2]), value)
        value = ASSIGNED.sub(rf"\1{MASK}", value)
    for pattern in TEXTS:
        value = pattern.sub(rf"\1{MASK}", value)
    for secret in sorted(known, key=len, reverse=True):
        value = value.replace(secret, MASK)
    return value


def is_secret(key: str) -> bool:
    """Return whether the name of a key or of an environment variable indicates a secret value."""
    return re.fullmatch(f"{KEY}|{HEADERS}", key, re.IGNORECASE) is not None


def strip_folders(text: str) -> str:
    """Return a text in which each absolute path is shortened to its file name, or to ``RUN/result.json``."""
    return FOLDERS.sub(r"\1", text)
