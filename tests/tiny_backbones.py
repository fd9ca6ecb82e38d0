"""Write a tiny encoder or decoder with weights and a tokenizer to a folder. This takes about a second."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tiny_backbone import WORDS
from tiny_models import tiny_of

WITHOUT_TYPES = ("mpnet", "distilbert")  # encoders that have no token types
LETTERS = [chr(code) for code in range(33, 127)]
PIECES = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *dict.fromkeys([*WORDS.split(), *LETTERS, "label", "0", "1", "2"])]


def words(*, pair: bool, types: bool = True) -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words. With ``pair`` it adds BERT's special tokens to one or two texts."""
    rules = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    rules.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if pair:
        rules.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
        return PreTrainedTokenizerFast(
            tokenizer_object=rules, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]",
            model_input_names=["input_ids", *(["token_type_ids"] if types else []), "attention_mask"],
        )  # fmt: skip
    return PreTrainedTokenizerFast(tokenizer_object=rules, eos_token="[SEP]", unk_token="[UNK]")  # has no padding token


def write(folder: Path, kind: str, *, seed: int = 0, **sizes: Any) -> Path:
    """Write config.json, model.safetensors and a tokenizer. Return the folder. An encoder has no head."""
    model = tiny_of(kind, seed=seed, vocab_size=len(PIECES), **sizes)
    encoder = kind in ("bert", "roberta", "modernbert", *WITHOUT_TYPES)
    (model.base_model if encoder else model).save_pretrained(folder)
    words(pair=encoder, types=kind not in WITHOUT_TYPES).save_pretrained(folder)
    return folder


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
