"""A T5 that is small enough for every test, with random weights and the real code."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

from krona import surgery
from krona.backbones.families.encoder_decoder import EncoderDecoder
from krona.backbones.insert_method import insert_method
from krona.config import check
from krona.config.choices import choices, without_families
from krona.config.settings import Method
from krona.messages import KronaError
from methods.cases import find_case

CONF = Path(__file__).parent.parent / "conf"
WIDTHS = "64 and 96 (T5), 32, 48 and 16 (other architectures)"
METHODS = without_families(choices("method"))


def tiny_t5(*, gated: bool = False, seed: int = 0, **sizes: Any) -> T5ForConditionalGeneration:
    """Return a T5 in eval mode. With ``gated``, it has the FFN of T5 v1.1 and an untied head."""
    torch.manual_seed(seed)
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4, "vocab_size": 50, **sizes}
    kind = "gated-gelu" if gated else "relu"
    model = T5ForConditionalGeneration(T5Config(decoder_start_token_id=0, feed_forward_proj=kind, **sizes))
    for module in model.modules():  # a LayerNorm of ones would hide a wrong position
        if type(module).__name__ == "T5LayerNorm":
            nn.init.uniform_(module.get_parameter("weight"), 0.8, 1.2)
    if gated:
        model.lm_head.weight = nn.Parameter(torch.randn(sizes["vocab_size"], sizes["d_model"]))
        model.config.tie_word_embeddings = False
    return model.eval()


def batch(seed: int = 0) -> dict[str, torch.Tensor]:
    """Return a batch of three padded sources with up to seven tokens, and their targets."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, 50, (3, 7), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    labels = torch.randint(2, 50, (3, 4), generator=generator)
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}


@torch.no_grad()  # with autograd, sdpa may use another kernel, which differs by 1e-6
def logits(model: nn.Module) -> torch.Tensor:
    return model(**batch()).logits


def summed_loss(model: nn.Module, one: dict[str, torch.Tensor]) -> torch.Tensor:
    return EncoderDecoder(None, None).summed_loss(model, one)


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-9) -> bool:
    """Return whether two tensors in fp64 differ by rounding alone, relative to the largest value.

    Two computations of one value have this tolerance, because each processor has its own orders of sums.
    """
    assert actual.dtype == expected.dtype == torch.float64
    return bool((actual - expected).abs().max() <= tolerance * expected.abs().max())


def check_losses(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Check that the losses of two training loops in fp64 are equal up to rounding, and that the loss decreases.

    The first two losses have the tolerance of `close`. Each further step with AdamW can multiply the difference.
    """
    difference = (actual - expected).abs() / expected.abs()
    assert difference[:2].max() <= 1e-9
    assert difference.max() <= 1e-6
    assert actual[-1] < actual[0]


def same_bits(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Return whether two states are equal. Compare copies, not results of two computations (see `close`)."""
    kinds = [{name: tensor.dtype for name, tensor in one.items()} for one in (left, right)]
    return kinds[0] == kinds[1] and all(torch.equal(left[key], right[key]) for key in left)


def flags(model: nn.Module) -> list[tuple[str, bool]]:
    return [(name, p.requires_grad) for name, p in model.named_parameters()]


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Take the adapter out at the end, and check that the model is as before."""
    before, before_flags = snapshot(model), flags(model)
    yield
    surgery.take_out(model)
    assert same_bits(snapshot(model), before)
    assert flags(model) == before_flags


def refused(model: nn.Module, mistake: Callable[[], object], *patterns: str) -> None:
    """Check that a call raises one message with these patterns, and leaves the model unchanged."""
    outputs = [logits] if isinstance(model, T5ForConditionalGeneration) else []
    before, before_flags, output = snapshot(model), flags(model), [one(model) for one in outputs]
    has_adapter = "krona" in model.__dict__
    with pytest.raises(KronaError) as caught:
        mistake()
    message = str(caught.value)
    assert "\n" not in message
    assert [pattern for pattern in patterns if not re.search(pattern, message)] == [], message
    assert same_bits(snapshot(model), before)
    assert flags(model) == before_flags
    assert ("krona" in model.__dict__) == has_adapter
    assert all(map(torch.equal, output, [one(model) for one in outputs]))


def method_values(name: str, **overrides: Any) -> dict[str, Any]:
    """Return the key `method` of a method's YAML file with overrides, as plain values."""
    values: Any = OmegaConf.to_container(OmegaConf.load(CONF / "method" / f"{name}.yaml"))
    return {**values["method"], **overrides}


def settings(name: str, **overrides: Any) -> Method:
    """Return the settings of a method's YAML file with overrides."""
    return check.method(method_values(name, **overrides))


def inserted(
    name: str, model: T5ForConditionalGeneration | None = None, **overrides: Any
) -> T5ForConditionalGeneration:
    """Return a tiny T5 (or the given model) with the adapter of a method's YAML file."""
    model = tiny_t5() if model is None else model
    torch.manual_seed(1)
    method = settings(name, **{**find_case(name).arguments, **overrides})
    try:
        insert_method(model, method)
    except KronaError as error:
        error.add_note(f"The tests use layers of the widths {WIDTHS}. Add arguments in tests/methods/cases/{name}.py.")
        raise
    return prepared(model)


def prepared(model: Any) -> Any:
    """Compute the initial values that depend on the weights or the data, and return the model."""
    from tiny_models import output  # imports this module

    surgery.prepare(model, range(3), lambda model, seed: (output(model, seed) ** 2).mean())
    return model


def without_dropout(model: Any) -> Any:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return model


def disturb(model: nn.Module, seed: int = 2, by: float = 0.1) -> None:
    """Change all trainable parameters, so that they differ from their start values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.randn(parameter.shape, generator=generator))


def train(model: nn.Module, steps: int = 2, loss: Callable[[int], torch.Tensor] | None = None) -> None:
    """Train on a new batch in each step, with dropout."""
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        (loss(step) if loss else model(**batch(step)).loss).backward()
        optimizer.step()
    model.eval()
