"""Small models of other architectures than T5, with random weights and the code of transformers."""

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig

import tiny_t5
from krona.backbones.families import FAMILIES, find_family
from krona.backbones.families.decoder import Decoder, positions
from krona.backbones.families.encoder import Encoder
from tiny_t5 import batch

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 50}
GROUPED = {**SMALL, "num_key_value_heads": 2}  # v: 32 → 16
BART = {
    **{f"{side}_{key}": value for side in ("encoder", "decoder")
       for key, value in {"layers": 2, "attention_heads": 4, "ffn_dim": 48}.items()},
    "d_model": 32, "vocab_size": 50,
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "bart": BART,
    "bert": SMALL,
    "deberta-v2": {
        **SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8,
        "share_att_key": True, "norm_rel_ebd": "layer_norm", "type_vocab_size": 0, "position_biased_input": False,
    },
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 50},
    "electra": {**SMALL, "embedding_size": 16},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50},
    "gpt_neox": SMALL,
    "llama": GROUPED,
    "mbart": BART,
    "mistral": GROUPED,
    "modernbert": {**SMALL, "pad_token_id": 0},
    "mpnet": SMALL,
    "mt5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 50},
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 8},
    "roberta": SMALL,
    "umt5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 50},
    "xlm-roberta": SMALL,
}  # fmt: skip
NAMES = sorted(SIZES)


def combinations(names: Iterable[str], kinds: Sequence[str]) -> list[Any]:
    """Return all pairs of a name and a kind. Only all pairs of the first name and two of each other are not slow."""
    first, *others = kinds
    found = []
    for number, name in enumerate(names):
        often = kinds if number == 0 else (first, others[number % len(others)])
        found += [pytest.param(name, kind, marks=() if kind in often else pytest.mark.slow) for kind in kinds]
    return found


def tiny(kind: str, *, seed: int = 0) -> Any:
    return tiny_t5.tiny_t5(seed=seed) if kind == "t5" else tiny_of(kind, seed=seed)


def tiny_of(kind: str, *, seed: int = 0, **sizes: Any) -> Any:
    """Return a model in eval mode. Its biases differ from 0, and its normalisation weights from 1."""
    torch.manual_seed(seed)
    (family,) = (family for family, architectures in FAMILIES.items() if kind in architectures)
    config: Any = AutoConfig.for_model(kind, **{**SIZES[kind], **sizes})
    config.decoder_start_token_id = 0
    model = family.auto._model_mapping[type(config)](config)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            nn.init.uniform_(parameter, *((-0.2, 0.2) if name.endswith("bias") else (0.8, 1.2)))
    return model.eval()


def output(model: nn.Module, seed: int = 0) -> torch.Tensor:
    """Return the logits of all tokens except padding, with the model called as in its family."""
    one, kind = batch(seed), model.config.model_type
    mask = one["attention_mask"]
    if kind in FAMILIES[Encoder]:
        return model(input_ids=one["input_ids"], attention_mask=mask).logits
    if kind in FAMILIES[Decoder]:
        inputs = {"input_ids": one["input_ids"], "attention_mask": mask, "position_ids": positions(mask)}
        return model(**inputs).logits[mask.bool()]
    return model(**one).logits


evaluate = torch.no_grad()(output)


def family_for(model: nn.Module) -> Any:
    """Return the model's family without a tokenizer. Its batches are made from token ids."""
    kind: Any = find_family(model.config, "tiny")
    made = kind.__new__(kind)
    made.tokenizer, made.eos, made.targets = SimpleNamespace(pad_token_id=0), 1, ["0", "1"]
    return made


def family_batch(model: nn.Module, rows: int, length: int, tokens: int) -> dict[str, torch.Tensor]:
    """Return a batch of the model's family. The first row is two tokens shorter. Labels are ``tokens`` or a class."""
    family, generator = family_for(model), torch.Generator().manual_seed(length)
    high, width = (50, tokens) if family.generates_text else (2, 1)
    ids = torch.randint(2, 50, (rows, length), generator=generator).tolist()
    labels = torch.randint(0, high, (rows, width), generator=generator).tolist()
    ids[0] = ids[0][: length - 2]
    return family.collate([{"input_ids": a, "labels": b} for a, b in zip(ids, labels, strict=True)])


def train(model: nn.Module, steps: int = 2) -> None:
    tiny_t5.train(model, steps, loss=lambda step: (output(model, step) ** 2).mean())
