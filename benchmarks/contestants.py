"""Models to time: a frozen backbone of random weights, and copies that share them, with a method in each."""

import copy
import importlib.util
import math
import warnings
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.settings import Entrant
from krona import surgery
from krona.backbones.families import Batch, Family, find_architecture, find_family, target_patterns
from krona.backbones.load import random_model
from krona.backbones.source import find_folder
from krona.backbones.with_method import insert_method
from krona.config.settings import Backbone
from krona.kernels.t5_modules import use_fast_modules
from krona.messages import KronaError
from krona.surgery.targets import find_places
from krona.surgery.trainable import trained_names
from krona.tasks import Task

TASK = Task(
    name="bench", columns=("text",), template="{text}", labels={"no": 0, "yes": 1}, metrics=("accuracy",),
    score=("accuracy",),
)  # fmt: skip


class LabelTokenizer:
    """The tokenizer of random weights: T5's tokens of the labels 0 and 1, and none of other texts."""

    pad_token_id, eos_token_id = 0, 1
    known: ClassVar = {"0": (3, 632), "1": (209,)}

    def __init__(self, vocabulary: int) -> None:
        self.last = vocabulary - 1

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        ids = [min(token, self.last) for token in self.known.get(text.strip(), ())]
        return {"input_ids": [*ids, self.eos_token_id] if add_special_tokens else ids}


def frozen_backbone(settings: Backbone, *, seed: int) -> Any:
    """Build a backbone of frozen random weights. Raise `KronaError` if its sizes are unknown."""
    if settings.sizes is None and find_folder(settings) is None:
        raise KronaError("bench.options.backbone: its YAML in conf/backbone has no sizes. Use t5_base, for example.")
    torch.manual_seed(seed)
    return random_model(settings, TASK).requires_grad_(False)


def build_family(model: Any) -> Family:
    """Return the family of a model of random weights, for a task of two classes."""
    return find_family(model.config, "of the bench")(TASK, LabelTokenizer(model.config.vocab_size))


def twin(model: nn.Module) -> Any:
    """Return a copy of a model's modules that shares its weights."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def with_method(model: nn.Module, entrant: Entrant, *, seed: int) -> Any:
    """Return a twin with a method inserted. It shares only the weights that do not train."""
    tuned = twin(model)
    torch.manual_seed(seed)
    insert_method(tuned, entrant.method, counterparts={})
    return tuned


def add_adapter(model: nn.Module, entrant: Entrant, number: int, *, seed: int, reversible: bool = True) -> None:
    """Insert an adapter called ``adapter_<number>``, and make it the active one."""
    placement = {**entrant.method.placement, "name": adapter_name(number)}
    torch.manual_seed(seed + number)
    insert_method(model, replace(entrant.method, placement=placement), counterparts={}, reversible=reversible)


def adapter_name(number: int) -> str:
    return f"adapter_{number}"


def inserted_shape(model: nn.Module) -> str | None:
    """Return the shape of A in this model, which may differ from the paper's; None without one."""
    state = model.__dict__.get("krona")
    factors = state.adapters[state.active].branch_config.get("kron_factors") if state else None
    return "x".join(map(str, factors[0])) if factors else None


def with_fast_modules(model: nn.Module) -> Any:
    """Return a frozen twin with this project's LayerNorms and dropout, as in every model with a method."""
    ours = twin(model)
    use_fast_modules(ours)
    return ours


def with_layer_norms(model: nn.Module) -> Any:
    """Return such a twin in which the LayerNorm weights and a new head train, as with every method."""
    tuned = twin(model)
    surgery.insert(tuned, head=find_architecture(tuned).head)
    return tuned


def perturb(model: nn.Module, *, seed: int, by: float = 0.02) -> None:
    """Move the trainable weights away from their start, so that no branch adds zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(by * torch.randn(parameter.shape, generator=generator))


def peft_is_installed() -> bool:
    return importlib.util.find_spec("peft") is not None


def peft_twins(model: nn.Module, *, methods: Collection[str] = ()) -> dict[str, Callable[[], Any]]:
    """Return builders of peft's LoRA of rank 1 and LoKr of KronA's size at q and v; empty without peft.

    The LayerNorms and a new head train as in this project's models. If c3a or miss are among ``methods``, peft's forms
    of them are included, with as many parameters.
    """
    if not peft_is_installed():
        return {}
    from peft import C3AConfig, LoKrConfig, LoraConfig, MissConfig, get_peft_model

    beside = trained_names(model, train_layer_norms=True, train_backbone=False, head=find_architecture(model).head)

    def build(config: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the two libraries, about each other
                tuned = get_peft_model(twin(model), config)
        except (TypeError, ValueError) as error:
            raise KronaError(
                f"peft refuses its {config.peft_type.value} here: {error}. Set bench.peft=false."
            ) from error
        inner: Any = tuned.get_base_model()
        for name in beside:
            owner, _, attribute = name.rpartition(".")
            own = nn.Parameter(inner.get_parameter(name).detach().clone())
            setattr(inner.get_submodule(owner), attribute, own)
        return tuned

    places = find_places(model, list(target_patterns(model, ["q", "v"])))
    where: dict[str, Any] = {"target_modules": places}
    twins = {
        "peft/lora": lambda: build(LoraConfig(r=1, lora_alpha=1, **where)),
        "peft/lokr": lambda: build(LoKrConfig(r=16, alpha=16, **where)),
    }
    if "c3a" in methods:
        layers: dict[str, Any] = {place: model.get_submodule(place) for place in places}
        blocks = {place: math.gcd(layer.in_features, layer.out_features) // 2 for place, layer in layers.items()}
        twins["peft/c3a"] = lambda: build(C3AConfig(block_size_pattern=blocks, init_weights=True, **where))
    if "miss" in methods:
        twins["peft/miss"] = lambda: build(MissConfig(r=2, **where))
    return twins


def random_batch(model: Any, *, rows: int, length: int, seed: int, answer: int | None = None) -> Batch:
    """Return a batch of full-length random sources, as the model's family collates them.

    Args:
        answer: random tokens of each label, if the family writes text; None: the protocol's labels in turn, which have
            two or three tokens with the end of sequence.
    """
    family, vocabulary = build_family(model), model.config.vocab_size
    generator = torch.Generator().manual_seed(seed)
    sources = torch.randint(2, vocabulary, (rows, length), generator=generator).tolist()
    labels = [family.label(("1", "0")[row % 2]) for row in range(rows)]
    if answer is not None and family.writes:
        labels = torch.randint(2, vocabulary, (rows, answer), generator=generator).tolist()
    return family.collate([{"input_ids": a, "labels": b} for a, b in zip(sources, labels, strict=True)])


def forward(model: Any, inputs: dict[str, Any]) -> Callable[[], None]:
    """Return a call of the model without gradients."""

    @torch.no_grad()
    def call() -> None:
        model(**inputs)

    return call


def merge_if_linear(model: Any) -> tuple[Any, str]:
    """Return a tuned model in its fastest form, and the name of the form: bare, merged or plain."""
    model.eval()
    if not list(surgery.adapted_modules(model)):
        return model, "bare"
    try:
        surgery.merge(model)
    except KronaError:
        return model, "plain"
    return model, "merged"


def build_adamw(model: nn.Module) -> torch.optim.Optimizer | None:
    """Build an optimizer of the trainable weights; None for a frozen model."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trainable, lr=1e-5, weight_decay=0.0) if trainable else None


def training_step(family: Family, model: Any, batch: Batch, *, input_gradient: bool) -> Callable[[], None]:
    """Return a forward and backward pass of one batch, with dropout.

    Args:
        input_gradient: compute the gradient of the embedded input, as a frozen model has no other.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    embedded: list[Tensor] = []

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        if not embedded:  # of the source; a decoder embeds the labels later
            embedded.append(output.requires_grad_(True))

    for module in model.modules() if input_gradient else ():
        if isinstance(module, nn.Embedding) and module.num_embeddings == model.config.vocab_size:
            module.register_forward_hook(hook)
    model.train()

    def step() -> None:
        for parameter in trainable:
            parameter.grad = None
        family.summed_loss(model, batch).backward()  # type: ignore[no-untyped-call]
        embedded.clear()

    return step
