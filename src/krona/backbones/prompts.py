"""Train a prompt of the peft package: positions in front of the text (``method=peft/prompt_tuning`` and others).

peft's encoder of the type computes the prompt. Hooks on the model add the prompt, so every caller gives inputs and gets
outputs without the positions of the prompt. There are two kinds of prompts:

- embeddings in front of the embeddings of the text (PROMPT_TUNING, P_TUNING)
- keys and values in front of those of each layer (PREFIX_TUNING, CARTRIDGE), in the decoder of an encoder-decoder

The head of an encoder therefore reads the text's first token, and not the prompt. The position ids of the text begin
after the prompt. In a text that is padded on the left, the prompt comes before the padding.
"""

# mypy: allow-untyped-calls

from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from krona.backbones.families.family import CACHE
from krona.backbones.peft_branch import freeze_as_buffers, make_config, quiet
from krona.messages import KronaError, first_line
from krona.methods.branch import Branch

if TYPE_CHECKING:
    from peft import PromptLearningConfig

IN_CACHE = ("PREFIX_TUNING", "CARTRIDGE")  # types that train keys and values
INITIAL = ("prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs")


class PromptBranch(Branch):
    """A prompt, which peft's encoder ``tuner`` computes.

    Args:
        config: ``peft_type``, ``num_virtual_tokens`` and other arguments of this type's config class.
    """

    adds_positions = True
    tuner: nn.Module
    config: dict[str, Any]
    length: int  # the number of positions
    layer_shape: tuple[int, ...]  # the numbers of layers, of keys and values (2) and of heads, and the width of a head

    def __init__(self, d_in: int, d_out: int, *, config: dict[str, Any]) -> None:
        raise TypeError("PromptBranch.build_prompt creates the prompt of a model")

    @classmethod
    def build_prompt(cls, model: nn.Module, config: Mapping[str, Any]) -> "PromptBranch":
        """Let peft build the encoder of the prompt.

        Raises:
            KronaError: peft raises an error for the config, or the model's attention accepts no earlier keys and
                values.
        """
        assert isinstance(model, PreTrainedModel)
        peft_config = cls.to_peft_config(model, config)
        from peft import PeftType
        from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

        embeddings = model.get_input_embeddings()
        weight = embeddings.get_parameter("weight")
        encoder: Callable[..., nn.Module] = PEFT_TYPE_TO_TUNER_MAPPING[PeftType(peft_config.peft_type)]
        given = (peft_config, embeddings)[: len(signature(encoder).parameters)]
        try:
            with quiet(), torch.device("meta" if weight.is_meta else "cpu"):
                tuner = encoder(*given)
        except Exception as error:  # peft raises many different exception types
            raise KronaError(f"peft cannot build {config['peft_type']}: {first_line(error)}") from error
        branch = cls.__new__(cls)
        nn.Module.__init__(branch)
        branch.tuner = tuner
        freeze_as_buffers(tuner)  # such as the frozen positions of a cartridge
        branch.length = peft_config.num_virtual_tokens
        heads = peft_config.num_attention_heads or 1
        branch.layer_shape = (peft_config.num_layers or 1, 2, heads, peft_config.token_dim // heads)
        # an adapter file contains the values
        branch.config = {key: value for key, value in config.items() if key not in INITIAL}
        return branch.to(weight.device, weight.dtype)

    @classmethod
    def to_peft_config(cls, model: PreTrainedModel, config: Mapping[str, Any], **more: Any) -> "PromptLearningConfig":
        """Return the config of peft for this model."""
        fields: dict[str, Any] = {"token_dim": model.get_input_embeddings().embedding_dim}
        if config["peft_type"] in IN_CACHE:
            reader = _reader(model, in_cache=True)
            if CACHE not in _argument_names(reader):
                raise KronaError(
                    f"{config['peft_type']} is not possible, because the attention of {type(reader).__name__} does "
                    "not accept earlier keys and values. Use method=peft/prompt_tuning or method=peft/p_tuning."
                )
            sizes: Any = reader.config
            heads = getattr(sizes, "decoder_attention_heads", sizes.num_attention_heads)
            width = getattr(sizes, "d_kv", None) or getattr(sizes, "head_dim", None) or sizes.hidden_size // heads
            heads = getattr(sizes, "num_key_value_heads", heads)
            layers = getattr(sizes, "decoder_layers", sizes.num_hidden_layers)
            fields = {"token_dim": heads * width, "num_attention_heads": heads, "num_layers": int(layers)}
        made = make_config(config, is_prompt=True, num_transformer_submodules=1, **fields, **more)
        from peft import PromptLearningConfig

        assert isinstance(made, PromptLearningConfig)
        if not made.num_virtual_tokens or made.num_virtual_tokens < 1:
            raise KronaError("method.config.num_virtual_tokens must be at least 1.")
        if hasattr(made, "encoder_hidden_size") and made.encoder_hidden_size is None:
            made.encoder_hidden_size = made.token_dim
        return made

    def connect(self, model: PreTrainedModel) -> list[RemovableHandle]:
        """Register the hooks that add this prompt to the model's input."""

        def before(module: nn.Module, change: Callable[..., None]) -> RemovableHandle:
            return module.register_forward_pre_hook(partial(_before, self, change), with_kwargs=True)

        in_cache = self.config["peft_type"] in IN_CACHE
        reader = _reader(model, in_cache=in_cache)
        if in_cache:
            return [before(reader, PromptBranch.fill_cache)]
        hooks = [before(reader, PromptBranch.extend_input)]
        if model.config.is_encoder_decoder:
            return [*hooks, before(model.get_decoder(), PromptBranch.extend_cross_attention)]
        hooks.append(reader.register_forward_hook(partial(_trim_output, self), with_kwargs=True))
        if isinstance(pooler := getattr(reader, "pooler", None), nn.Module):
            hooks.append(pooler.register_forward_pre_hook(partial(_trim_input, self)))
        return hooks

    def extend_input(self, module: PreTrainedModel, inputs: dict[str, Any]) -> None:
        """Put the prompt in front of the embeddings, unless ``inputs`` continue a text."""
        begins = self._shift(inputs)
        if not begins:
            return
        ids, embeddings = inputs.pop("input_ids", None), inputs.get("inputs_embeds")
        if embeddings is None:
            embeddings = module.get_input_embeddings()(ids)
        rows = len(embeddings)
        prompt = self._values(embeddings).to(embeddings.dtype)  # (1, length, width)
        inputs["inputs_embeds"] = torch.cat([prompt.expand(rows, -1, -1), embeddings], 1)
        if (position_ids := inputs.get("position_ids")) is not None:
            prompt_ids = torch.arange(self.length, device=position_ids.device, dtype=position_ids.dtype)
            inputs["position_ids"] = torch.cat([prompt_ids.expand(len(position_ids), -1), position_ids], 1)
        if (types := inputs.get("token_type_ids")) is not None:
            inputs["token_type_ids"] = torch.cat([types.new_zeros(rows, self.length), types], 1)

    def extend_cross_attention(self, module: nn.Module, inputs: dict[str, Any]) -> None:
        """Let the decoder attend to the encoder's output at the prompt."""
        if (mask := inputs.get("encoder_attention_mask")) is not None:
            inputs["encoder_attention_mask"] = self._extend_mask(mask)

    def fill_cache(self, module: PreTrainedModel, inputs: dict[str, Any]) -> None:
        """Put the prompt into the cache of keys and values, unless ``inputs`` continue a text."""
        if module.training and getattr(module, "gradient_checkpointing", False):
            raise KronaError(
                f"{self.config['peft_type']} is not possible with gradient checkpointing, because transformers then "
                "ignores earlier keys and values. Set trainer.gradient_checkpointing=false."
            )
        if not self._shift(inputs):
            return
        given = next(value for key in ("input_ids", "inputs_embeds") if (value := inputs.get(key)) is not None)
        if inputs.get(CACHE) is None:
            cache = DynamicCache()
            inputs[CACHE] = EncoderDecoderCache(cache, DynamicCache()) if module.config.is_encoder_decoder else cache
        present = inputs[CACHE]
        cache = present.self_attention_cache if isinstance(present, EncoderDecoderCache) else present
        values = self._values(given).to(module.get_input_embeddings().get_parameter("weight").dtype)
        values = values.view(self.length, *self.layer_shape).expand(len(given), -1, -1, -1, -1, -1)
        by_layer = values.permute(2, 3, 0, 4, 1, 5)
        for layer, (keys, values) in enumerate(by_layer):
            cache.update(keys, values, layer)

    def _values(self, like: Tensor) -> Tensor:
        """Return the output of peft's encoder, (1, length, width)."""
        values: Tensor = self.tuner(torch.arange(self.length, device=like.device)[None])
        return values

    def _shift(self, inputs: dict[str, Any]) -> bool:
        """Make room for the prompt in the mask and the position ids. Return whether the inputs begin a text."""
        if (mask := inputs.get("attention_mask")) is not None:
            inputs["attention_mask"] = self._extend_mask(mask)
        if (position_ids := inputs.get("position_ids")) is not None:
            inputs["position_ids"] = position_ids + self.length
        earlier = inputs.get(CACHE)
        return earlier is None or not earlier.get_seq_length()

    def _extend_mask(self, mask: Tensor) -> Tensor:
        return torch.cat([mask.new_ones(len(mask), self.length), mask], 1)


def _reader(model: PreTrainedModel, *, in_cache: bool) -> nn.Module:
    """Return the module whose input or cache the prompt changes."""
    if not model.config.is_encoder_decoder:
        return model.base_model
    reader: nn.Module = model.get_decoder() if in_cache else model.get_encoder()
    return reader


def _argument_names(module: nn.Module) -> list[str]:
    return list(signature(module.forward).parameters)


def _before(
    prompt: PromptBranch, change: Callable[..., None], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[()], dict[str, Any]]:
    """Let the prompt change the inputs of a module."""
    inputs = {**dict(zip(_argument_names(module), args, strict=False)), **kwargs} if args else kwargs
    change(prompt, module, inputs)
    return (), inputs


def _trim_output(
    prompt: PromptBranch, module: nn.Module, args: object, inputs: Mapping[str, Any], output: BaseModelOutput
) -> None:
    """Remove the positions of the prompt from the output."""
    if inputs.get("inputs_embeds") is not None and output.last_hidden_state is not None:
        output.last_hidden_state = output.last_hidden_state[:, prompt.length :]


def _trim_input(prompt: PromptBranch, pooler: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor]:
    """Remove the positions of the prompt from the states that a pooler reads."""
    return (args[0][:, prompt.length :],)
