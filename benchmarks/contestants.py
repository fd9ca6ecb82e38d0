"""Build the models that the benchmarks time: a frozen backbone with random weights, and copies of it with a method.

The copies share the weights of the backbone. They are called twins.
"""

import copy
import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.settings import Entrant
from krona import surgery
from krona.backbones.families import Batch, Family, find_architecture, find_family, target_patterns
from krona.backbones.insert_method import insert_method
from krona.backbones.load import random_model
from krona.backbones.peft_branch import NAME, PeftBranch, quiet
from krona.config.settings import Backbone
from krona.kernels.t5_modules import use_fast_modules
from krona.messages import KronaError
from krona.methods.factor_shapes import shape_name
from krona.surgery.state import trained_names
from krona.surgery.target_modules import match_modules
from krona.tasks import Task

TASK = Task(
    name="bench", columns=("text",), template="{text}", labels={"no": 0, "yes": 1}, metrics=("accuracy",),
    score=("accuracy",),
)  # fmt: skip


class LabelTokenizer:
    """A minimal tokenizer for backbones with random weights.

    The labels 0 and 1 are encoded as by T5's tokenizer. Any other text gives no tokens.
    """

    pad_token_id, eos_token_id = 0, 1
    known: ClassVar = {"0": (3, 632), "1": (209,)}

    def __init__(self, vocabulary: int) -> None:
        self.last = vocabulary - 1

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        ids = [min(token, self.last) for token in self.known.get(text.strip(), ())]
        return {"input_ids": [*ids, self.eos_token_id] if add_special_tokens else ids}


def frozen_backbone(settings: Backbone, *, seed: int) -> Any:
    """Build a backbone with frozen random weights.

    Raises:
        KronaError: the sizes of the backbone are unknown.
    """
    if settings.sizes is None and settings.folder is None:
        raise KronaError("The YAML of bench.options.backbone in conf/backbone has no sizes. Use t5_base, for example.")
    torch.manual_seed(seed)
    return random_model(settings, TASK).requires_grad_(False)


def build_family(model: Any) -> Family:
    """Return the family of a model with random weights, for a task with two classes."""
    tokenizer: Any = LabelTokenizer(model.config.vocab_size)
    return find_family(model.config, "of the bench")(TASK, tokenizer)


def twin(model: nn.Module) -> Any:
    """Return a copy of a model that has its own modules and shares the weights."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def with_method(
    model: nn.Module, entrant: Entrant, *, seed: int, factor_shapes: Mapping[str, Any] | None = None
) -> Any:
    """Return a twin with an inserted method. The twin shares only the weights that are not trained.

    ``factor_shapes`` is the argument of `insert_method`.
    """
    tuned = twin(model)
    torch.manual_seed(seed)
    insert_method(tuned, entrant.method, factor_shapes=factor_shapes)
    return tuned


def inserted_shape(model: nn.Module) -> str | None:
    """Return the shape of A in this model, which may differ from the paper's shape. Return None if there is no A."""
    adapter = model.__dict__.get("krona")
    factors = adapter.branch_config.get("kron_factors") if adapter else None
    return shape_name(factors[0]) if factors else None


def with_fast_modules(model: nn.Module) -> Any:
    """Return a frozen twin with krona's LayerNorms and dropout, as in all models with a method."""
    ours = twin(model)
    use_fast_modules(ours)
    return ours


def with_layer_norms(model: nn.Module) -> Any:
    """Return a twin with krona's LayerNorms and dropout, in which the LayerNorm weights and a new head are trained."""
    tuned = twin(model)
    surgery.insert(tuned, head=find_architecture(tuned).head)
    return tuned


def perturb(model: nn.Module, *, seed: int) -> None:
    """Add random numbers to the trainable weights, so that the updates of the branches are not zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))


def peft_is_installed() -> bool:
    return importlib.util.find_spec("peft") is not None


def peft_twins(model: nn.Module) -> dict[str, Callable[[], Any]]:
    """Return functions by name, each of which builds a twin with a method of peft on the modules q and v.

    The methods are LoRA of rank 1, and LoKr with as many parameters as KronA. LayerNorms and a new head are
    trained, as in krona's models. The result is empty if peft is not installed.
    """
    if not peft_is_installed():
        return {}
    from peft import LoKrConfig, LoraConfig, get_peft_model

    def build(config: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # transformers and peft warn about each other
                tuned = get_peft_model(twin(model), config)
        except (TypeError, ValueError) as error:
            raise KronaError(
                f"peft cannot insert its {config.peft_type.value} into this model: {error}. Set bench.peft=false."
            ) from error
        _train_beside(tuned.get_base_model())
        return tuned

    places = list(match_modules(model, list(target_patterns(model, ["q", "v"]))))
    where: dict[str, Any] = {"target_modules": places}
    return {
        "peft/lora": lambda: build(LoraConfig(r=1, lora_alpha=1, **where)),
        "peft/lokr": lambda: build(LoKrConfig(r=16, alpha=16, **where)),
    }


def plain_twin(model: Any, entrant: Entrant) -> Any:
    """Return a twin with the same tuner layers of peft as a method ``peft/…``, but inserted by peft without krona."""
    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    def translate(words: Sequence[str]) -> list[str]:
        return list(target_patterns(model, words))

    tuned = twin(model)
    arguments = PeftBranch.fit_to_run(dict(entrant.method.branch_config), translate, None)["config"]
    places = list(match_modules(model, translate(entrant.method.placement["target_modules"])))
    config = PeftBranch.to_peft_config(tuned, places, arguments)
    with quiet():
        PEFT_TYPE_TO_TUNER_MAPPING[PeftType(config.peft_type)](tuned, config, NAME)
    _train_beside(tuned)
    return tuned


def _train_beside(model: Any) -> None:
    """Train copies of the LayerNorm weights and the head, as krona's models do."""
    for name in trained_names(model, None, {"head": find_architecture(model).head}):
        owner, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(owner), attribute, nn.Parameter(model.get_parameter(name).detach().clone()))


def random_batch(model: Any, *, rows: int, length: int, seed: int) -> Batch:
    """Return a batch with ``length`` random source tokens per row and no padding, collated for the model's family.

    The labels of the rows alternate between 1 and 0. As text, they have two or three tokens including the end of
    sequence.
    """
    family, vocabulary = build_family(model), model.config.vocab_size
    generator = torch.Generator().manual_seed(seed)
    sources = torch.randint(2, vocabulary, (rows, length), generator=generator).tolist()
    labels = [family.label(("1", "0")[row % 2]) for row in range(rows)]
    return family.collate([{"input_ids": a, "labels": b} for a, b in zip(sources, labels, strict=True)])


def build_adamw(model: nn.Module) -> torch.optim.Optimizer | None:
    """Build an optimizer for the trainable weights. Return None if no weight is trainable."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trainable, lr=1e-5, weight_decay=0.0) if trainable else None


def training_step(family: Family, model: Any, batch: Batch, *, input_gradient: bool) -> Callable[[], None]:
    """Return a function that runs the forward and backward pass of a batch, with dropout.

    With ``input_gradient``, the gradient of the embedded input is computed too. A frozen model needs this, because it
    has no other gradient.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    embedded: list[Tensor] = []

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
        if not embedded:  # the first call embeds the source; a decoder embeds the labels later
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
