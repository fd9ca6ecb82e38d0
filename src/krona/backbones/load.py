"""Load a backbone and its tokenizer from the Hub, a folder or this package, or build an untrained model."""

# mypy: allow-untyped-calls

import copy
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from krona.backbones.checkpoint import (
    build_config,
    hub_or_cache_only,
    load_checkpoint,
    model_class,
    num_outputs,
    prevent_repacking,
    quantisation_config,
)
from krona.backbones.families import Family, find_family
from krona.backbones.weights_source import WAYS_OUT, fingerprint, require_folders
from krona.config.settings import Backbone
from krona.messages import KronaError
from krona.random_streams import stream_seed
from krona.surgery.layers import is_norm
from krona.tasks import Task
from krona.tasks.hub import download_error


@dataclass(frozen=True)
class Loaded:
    """A loaded backbone and its family, which contains the tokenizer."""

    model: PreTrainedModel
    family: Family
    new_weights: tuple[str, ...] = ()  # names of the head's weights that the checkpoint does not contain


Model = TypeVar("Model", bound=nn.Module)
Value = TypeVar("Value")


class RecentValues(OrderedDict[Hashable, Value]):
    """A dict of the ``limit`` most recently used values."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key, or compute it with ``make``."""
        if key not in self:
            while len(self) >= self.limit:  # remove values first, because two backbones may not fit into memory
                self.popitem(last=False)
            self[key] = make()
        self.move_to_end(key)
        return self[key]


BACKBONES: RecentValues[Loaded] = RecentValues(1)  # see `shared_backbone`


def load(settings: Backbone, task: Task, *, seed: int, bf16: bool = False) -> Loaded:
    """Load a backbone without a second copy of the weights in memory.

    Args:
        seed: the run's seed, for a new head, and for all weights if ``pretrained`` is false.
        bf16: store normalisation layers in fp32, and all other weights in bf16. If false, store all weights in fp32.

    Raises:
        KronaError: a folder does not exist, the architecture is unknown, a file is damaged, or a download failed.
    """
    require_folders(settings)
    new: tuple[str, ...] = ()
    with hub_or_cache_only(settings):
        config = build_config(settings, task, own=settings.pretrained)
        tokenizer = load_tokenizer(settings)
        family = find_family(config, settings.name_or_path)(task, tokenizer)
        family.check_metrics(task)
        kind = model_class(family.auto, config)
        if settings.pretrained:
            model, new = load_checkpoint(settings, kind, config, task, bf16=bf16)
    if not settings.pretrained:
        torch.manual_seed(stream_seed("backbone", seed))
        model = _build_untrained(settings, kind, config, bf16=bf16)
        if settings.quantisation is not None:
            model = kind.from_pretrained(
                None,
                config=model.config,
                state_dict=model.state_dict(),
                dtype=torch.float32,
                quantization_config=quantisation_config(model),
            )
    prevent_repacking(model)
    init_new_weights(model, new, seed=seed)
    require_embeddings(tokenizer, model.config, settings)
    return Loaded(model=model, family=family, new_weights=new)


def load_tokenizer(settings: Backbone) -> PreTrainedTokenizerBase:
    """Return a backbone's tokenizer, from the backbone's folder, ``backbone.tokenizer`` or the Hub."""
    folder = settings.tokenizer_folder
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            settings.name if folder is None else str(folder),
            revision=settings.revision if folder is None else None,
            trust_remote_code=False,
        )
    except Exception as error:  # the tokenizer backends raise different exception types
        raise download_error(f"the tokenizer of {folder or settings.name}", error, WAYS_OUT) from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of a tokenizer's vocabulary and rules. The keys of the token cache contain this hash."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab(), sort_keys=True)
    return hashlib.blake2b(f"{type(tokenizer).__name__} {rules}".encode(), digest_size=8).hexdigest()


def require_embeddings(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, settings: Backbone) -> None:
    """Check that the backbone has an embedding for each token of the tokenizer.

    Raises:
        KronaError: the tokenizer has more tokens than the backbone has embeddings.
    """
    if len(tokenizer) > config.vocab_size:
        raise KronaError(
            f"The tokenizer has {len(tokenizer)} tokens, but the backbone {settings.name_or_path} has embeddings for "
            f"{config.vocab_size}. Use the tokenizer of this backbone."
        )


def random_model(settings: Backbone, task: Task | None = None) -> PreTrainedModel:
    """Return the backbone's model with random weights from torch's default random generator."""
    require_folders(settings)
    with hub_or_cache_only(settings):
        config = build_config(settings, task)
    kind = model_class(find_family(config, settings.name_or_path).auto, config)
    return _build_untrained(settings, kind, config, bf16=False)


def meta_model(settings: Backbone, task: Task | None = None) -> PreTrainedModel:
    """Return the backbone's model on the meta device, which needs no memory. The weights have no values."""
    with torch.device("meta"):
        return random_model(settings, task)


def init_new_weights(model: nn.Module, names: tuple[str, ...], *, seed: int) -> None:
    """Initialise the new weights of a head.

    Biases are initialised with 0, other vectors with 1, and matrices from a normal distribution with the config's
    ``initializer_range``, or 0.02, as the standard deviation.
    """
    generator = torch.Generator().manual_seed(stream_seed("head", seed))
    std = float(getattr(model.config, "initializer_range", 0.02))
    for name in names:
        owner, _, attribute = name.rpartition(".")
        old = model.get_parameter(name)
        value = torch.zeros(old.shape) if attribute == "bias" else torch.ones(old.shape)
        if old.dim() > 1:
            value.normal_(std=std, generator=generator)
        setattr(model.get_submodule(owner), attribute, nn.Parameter(value.to(old.device, old.dtype)))


def _build_untrained(
    settings: Backbone, kind: type[PreTrainedModel], config: PreTrainedConfig, *, bf16: bool
) -> PreTrainedModel:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if bf16 else default)
    try:
        model: PreTrainedModel = kind(config)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        key = f"backbone.sizes={dict(settings.sizes or {})}" if settings.folder is None else settings.name_or_path
        raise KronaError(
            f"Could not build a {config.model_type} model: {type(error).__name__}: {error}. Check {key}."
        ) from error
    finally:
        torch.set_default_dtype(default)
    for module in model.modules():
        if bf16 and is_norm(module):
            module.float()
    if settings.tied_head is False or not getattr(config, "tie_word_embeddings", True):
        # separate the weight of the output layer from the embeddings, as in the published Flan and v1.1 checkpoints
        head, weight = model.get_output_embeddings(), model.get_input_embeddings().weight
        if head is not None and head.weight is weight:
            head.weight = nn.Parameter(head.get_parameter("weight").detach().clone())
        model.config.tie_word_embeddings = False
    return model


def shared_backbone(settings: Backbone, task: Task, *, seed: int, bf16: bool) -> Loaded:
    """Return a backbone with new modules, whose weights are shared with the other runs of this process.

    The weights are loaded only if the previous run used another backbone, or if the weights are quantised. The new
    weights of a head are not shared.
    """
    if settings.quantisation is not None:  # `with_own_modules` would drop the quantisation state of 4-bit weights
        return load(settings, task, seed=seed, bf16=bf16)
    content = repr(replace(settings, factor_shapes={}, learning_rates=None))
    key = (fingerprint(settings), content, None if settings.pretrained else seed, bf16, task.is_multilabel)
    cached = BACKBONES.get(key)
    if cached and not cached.family.generates_text and cached.model.config.num_labels != num_outputs(task):
        del BACKBONES[key]  # the cached model has the head of another task
    loaded = BACKBONES.get_or_make(key, lambda: load(settings, task, seed=seed, bf16=bf16))
    model = with_own_modules(loaded.model)
    init_new_weights(model, loaded.new_weights, seed=seed)
    return replace(loaded, model=model, family=type(loaded.family)(task, loaded.family.tokenizer))


def with_own_modules(model: Model) -> Model:
    """Return a copy of the model. Its parameters and buffers are new objects that use the same memory."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad) for p in model.parameters()}
    memo |= {id(buffer): buffer.detach() for buffer in model.buffers()}
    return copy.deepcopy(model, memo)
