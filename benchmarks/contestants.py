"""Models to time: one frozen backbone of random weights, and copies that share them, with a method in each."""

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


class Labels:
    """T5's tokens of the labels 0 and 1, without those of any other text: the tokenizer of random weights."""

    pad_token_id, eos_token_id = 0, 1
    known: ClassVar = {"0": (3, 632), "1": (209,)}

    def __init__(self, vocabulary: int) -> None:
        self.last = vocabulary - 1

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        ids = [min(token, self.last) for token in self.known.get(text.strip(), ())]
        return {"input_ids": [*ids, self.eos_token_id] if add_special_tokens else ids}


def frozen(settings: Backbone, *, seed: int) -> Any:
    """A backbone of random weights, all frozen. Raises KronaError for one whose sizes are not known here."""
    if settings.sizes is None and find_folder(settings) is None:
        raise KronaError("bench.options.backbone: its YAML in conf/backbone has no sizes; t5_base, for one, has")
    torch.manual_seed(seed)
    return random_model(settings, TASK).requires_grad_(False)


def family_for(model: Any) -> Family:
    """The family of a model of random weights, for a task of two classes."""
    return find_family(model.config, "of the bench")(TASK, Labels(model.config.vocab_size))


def twin(model: nn.Module) -> Any:
    """A copy of a model's modules that shares its weights."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def with_method(model: nn.Module, entrant: Entrant, *, seed: int) -> Any:
    """A twin with a method in it. It shares only the weights that do not train."""
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
    """The same, with LayerNorm weights that train, and a new head's, as with every method."""
    tuned = twin(model)
    surgery.insert(tuned, head=find_architecture(tuned).head)
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


def peft_twins(model: nn.Module, *, methods: Collection[str] = ()) -> dict[str, Callable[[], Any]]:
    """peft's LoRA of rank 1 and its LoKr of KronA's size at q and v, what trains beside them as in ours; empty without
    peft. Of ``methods``, c3a and miss have a form in peft too, with as many parameters as ours."""
    if not peft_is_installed():
        return {}
    from peft import C3AConfig, LoKrConfig, LoraConfig, MissConfig, get_peft_model

    beside = trained_names(model, train_layer_norms=True, train_backbone=False, head=find_architecture(model).head)
    patterns = list(target_patterns(model, ["q", "v"]))

    def build(config: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the two libraries' own, about each other
                tuned = get_peft_model(twin(model), config)
        except (TypeError, ValueError) as error:
            raise KronaError(f"peft refuses its {config.peft_type.value} here: {error}: bench.peft=false") from error
        inside: Any = tuned.get_base_model()
        for name in beside:
            owner, _, attribute = name.rpartition(".")
            own = nn.Parameter(inside.get_parameter(name).detach().clone())
            setattr(inside.get_submodule(owner), attribute, own)
        return tuned

    places = find_places(model, patterns)
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
    """Full-length sources, as the model's family collates them.

    Labels are as the protocol has them: of text, label and end, two or three tokens, in turn; or ``answer`` random
    tokens where the family writes text.
    """
    family, vocabulary = family_for(model), model.config.vocab_size
    generator = torch.Generator().manual_seed(seed)
    sources = torch.randint(2, vocabulary, (rows, length), generator=generator).tolist()
    labels = [family.label(("1", "0")[row % 2]) for row in range(rows)]
    if answer is not None and family.writes:
        labels = torch.randint(2, vocabulary, (rows, answer), generator=generator).tolist()
    return family.collate([{"input_ids": a, "labels": b} for a, b in zip(sources, labels, strict=True)])


def forward(model: Any, inputs: dict[str, Any]) -> Callable[[], None]:
    """A forward without gradients."""

    @torch.no_grad()
    def call() -> None:
        model(**inputs)

    return call


def merged(model: Any) -> tuple[Any, str]:
    """A tuned model in its fastest form, and the form's name: bare, merged or plain."""
    model.eval()
    if not list(surgery.adapted_modules(model)):
        return model, "bare"
    try:
        surgery.merge(model)
    except KronaError:
        return model, "plain"
    return model, "merged"


def adamw(model: nn.Module) -> torch.optim.Optimizer | None:
    """An optimiser of what trains; None for a frozen model."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trainable, lr=1e-5, weight_decay=0.0) if trainable else None


def training_step(family: Family, model: Any, batch: Batch, *, from_embeddings: bool) -> Callable[[], None]:
    """Forward and backward of one batch, dropout on. A frozen model gives the gradient of its input instead."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    embedded: list[Tensor] = []

    def ask(module: nn.Module, inputs: Any, output: Tensor) -> None:
        if not embedded:  # the source's: a decoder's labels come later
            embedded.append(output.requires_grad_(True))

    for module in model.modules() if from_embeddings else ():
        if isinstance(module, nn.Embedding) and module.num_embeddings == model.config.vocab_size:
            module.register_forward_hook(ask)
    model.train()

    def step() -> None:
        for parameter in trainable:
            parameter.grad = None
        family.summed_loss(model, batch).backward()  # type: ignore[no-untyped-call]
        embedded.clear()

    return step
