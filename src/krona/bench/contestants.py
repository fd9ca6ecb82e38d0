"""Models to time: one frozen T5 of random weights, and copies that share them, with a method in each."""

import copy
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from krona import surgery
from krona.backbones.with_method import insert_method
from krona.bench.settings import Entrant, Sizes
from krona.kernels.t5_modules import use_fast_modules
from krona.messages import KronaError

Batch = dict[str, Tensor]


def frozen_t5(sizes: Sizes, *, seed: int) -> T5ForConditionalGeneration:
    """A T5 of these sizes with random weights, all frozen."""
    if not sizes:
        raise KronaError("bench.options.backbone: its YAML in conf/backbone has no sizes; t5_base, for one, has")
    torch.manual_seed(seed)
    model = T5ForConditionalGeneration(T5Config(**{"decoder_start_token_id": 0, **sizes}))
    return model.requires_grad_(False)


def twin(model: nn.Module) -> Any:
    """A copy of a model's modules that shares its weights."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def with_method(model: nn.Module, entrant: Entrant, *, seed: int) -> Any:
    """A twin with a method in it. It shares only the weights that do not train."""
    tuned = twin(model)
    torch.manual_seed(seed)
    insert_method(tuned, entrant.method, counterparts={})
    return tuned


def shape_in(model: nn.Module) -> str | None:
    """The shape of A in this model, which may differ from the paper's; None without one."""
    state = model.__dict__.get("krona")
    factors = state.adapters[state.active].branch_config.get("kron_factors") if state else None
    return "x".join(map(str, factors[0])) if factors else None


def with_our_modules(model: nn.Module) -> Any:
    """A frozen twin with this project's LayerNorms and dropout, as in every model with a method."""
    ours = twin(model)
    use_fast_modules(ours)
    return ours


def with_layer_norms(model: nn.Module) -> Any:
    """The same, with LayerNorm weights that train."""
    tuned = twin(model)
    surgery.insert(tuned)
    return tuned


def moved(model: nn.Module, *, seed: int, by: float = 0.02) -> None:
    """Move what trains away from its start, so that no branch adds zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.randn(parameter.shape, generator=generator))


def peft_is_installed() -> bool:
    return importlib.util.find_spec("peft") is not None


def peft_twins(model: nn.Module) -> dict[str, Callable[[], Any]]:
    """peft's LoRA of rank 1 and its LoKr of KronA's size on q and v, LayerNorms trained; empty without peft."""
    if not peft_is_installed():
        return {}
    from peft import LoKrConfig, LoraConfig, get_peft_model

    def build(config: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the two libraries' own, about each other
            tuned = get_peft_model(twin(model), config)
        for module in tuned.modules():
            if type(module).__name__ == "T5LayerNorm":
                module.weight = nn.Parameter(module.weight.detach().clone())
        return tuned

    where: dict[str, Any] = {"target_modules": ["q", "v"]}
    return {
        "peft/lora": lambda: build(LoraConfig(r=1, lora_alpha=1, **where)),
        "peft/lokr": lambda: build(LoKrConfig(r=16, alpha=16, **where)),
    }


def random_batch(model: Any, *, rows: int, length: int, seed: int) -> Batch:
    """Full-length sources; targets as the protocol has them: label and end, of two or three tokens, in turn."""
    generator, vocabulary = torch.Generator().manual_seed(seed), model.config.vocab_size
    one, zero = [min(209, vocabulary - 1), 1, -100], [3, min(632, vocabulary - 1), 1]
    labels = torch.tensor([one, zero])
    return {
        "input_ids": torch.randint(2, vocabulary, (rows, length), generator=generator),
        "attention_mask": torch.ones(rows, length, dtype=torch.long),
        "labels": labels.repeat((rows + 1) // 2, 1)[:rows],
    }


def adamw(model: nn.Module) -> torch.optim.Optimizer | None:
    """An optimiser of what trains; None for a frozen model."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trainable, lr=1e-5, weight_decay=0.0) if trainable else None


def training_step(model: Any, batch: Batch, *, from_embeddings: bool) -> Callable[[], None]:
    """Forward and backward of one batch, dropout on. A frozen model gives the gradient of its input instead."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    model.train()

    def step() -> None:
        for parameter in trainable:
            parameter.grad = None
        inputs = dict(batch)
        if from_embeddings:
            embedded = model.get_input_embeddings()(inputs.pop("input_ids"))
            inputs["inputs_embeds"] = embedded.requires_grad_(True)
        model(**inputs, use_cache=False).loss.backward()

    return step
