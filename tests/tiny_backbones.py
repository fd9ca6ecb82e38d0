"""Write a tiny T5, encoder or decoder with weights and a tokenizer to a folder. This takes about a second."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration, T5Tokenizer

from tiny_models import tiny_of

SIZES = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
WORDS = "the a cat dog sat mat on under no yes sentence1 sentence2 sentence question hypothesis premise sample rte sst2"
WITHOUT_TYPES = ("mpnet", "distilbert")  # encoders that have no token types
LETTERS = [chr(code) for code in range(33, 127)]
PIECES = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *dict.fromkeys([*WORDS.split(), *LETTERS, "label", "0", "1", "2"])]


def write_backbone(folder: Path, *, seed: int = 0, **sizes: Any) -> Path:
    """Write a T5 with a tokenizer of words, letters and digits. Return the folder."""
    corpus = [f"{WORDS} {' '.join(map(chr, range(33, 127)))} 0 1 2 3 4 5 6 7 8 9 4.7"] * 20
    tokenizer = T5Tokenizer().train_new_from_iterator(iter(corpus), vocab_size=300)
    torch.manual_seed(seed)
    sizes = {**SIZES, "dropout_rate": 0.1, **sizes}
    config = T5Config(**sizes, vocab_size=len(tokenizer), decoder_start_token_id=0)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


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
