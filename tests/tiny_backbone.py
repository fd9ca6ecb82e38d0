"""Write a tiny T5 with weights and a tokenizer to a folder. This takes about a second."""

from pathlib import Path
from typing import Any

import torch
from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

SIZES = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
WORDS = "the a cat dog sat mat on under no yes sentence1 sentence2 sentence question hypothesis premise sample rte sst2"


def write_backbone(folder: Path, *, seed: int = 0, **sizes: Any) -> Path:
    """Write config.json, model.safetensors and a tokenizer of words, letters and digits. Return the folder."""
    corpus = [f"{WORDS} {' '.join(map(chr, range(33, 127)))} 0 1 2 3 4 5 6 7 8 9 4.7"] * 20
    tokenizer = T5Tokenizer().train_new_from_iterator(iter(corpus), vocab_size=300)
    torch.manual_seed(seed)
    sizes = {**SIZES, "dropout_rate": 0.1, **sizes}
    config = T5Config(**sizes, vocab_size=len(tokenizer), decoder_start_token_id=0)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
