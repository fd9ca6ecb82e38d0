"""Load a backbone's tokenizer, and compute a hash of its vocabulary and rules."""

import hashlib
import json

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from krona.backbones.source import WAYS_OUT, find_folder, gguf_arguments, tokenizer_folder
from krona.config.settings import Backbone
from krona.tasks.hub import download_error


def load_tokenizer(settings: Backbone) -> PreTrainedTokenizerBase:
    """Return a backbone's tokenizer, from the backbone's folder, ``backbone.tokenizer`` or the Hub."""
    folder, texts = find_folder(settings), tokenizer_folder(settings)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            settings.name if texts is None else str(texts),
            revision=settings.revision if texts is None else None,
            trust_remote_code=False,
            **(gguf_arguments(settings) if texts == folder else {}),
        )
    except Exception as error:  # the tokenizer backends raise different classes
        raise download_error(f"the tokenizer of {texts or settings.name}", error, WAYS_OUT) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of a tokenizer's vocabulary and rules. The keys of the token cache contain this hash."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return hashlib.blake2b(f"{type(tokenizer).__name__} {rules}".encode(), digest_size=8).hexdigest()
