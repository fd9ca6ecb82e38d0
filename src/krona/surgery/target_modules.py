"""Find the modules that match the patterns of ``target_modules``, and determine the input and output widths of modules.

- A name (``q``, ``SelfAttention``, ``encoder.block.0.layer.0.SelfAttention.q``) matches all modules whose dotted names
  end with this name.
- ``#`` matches the number of a layer, and ``*`` matches any text.
- A pattern with ``*`` in its last part (``encoder.*``, ``SelfAttention.*``, ``wi*``) matches only linear layers.
- ``mlp.gate_proj:mlp.down_proj`` matches a span of modules, from the input of the first module to the output of the
  second module. Use such a pattern if the FFN or attention block is not a single module.
"""

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from krona.messages import KronaError, did_you_mean
from krona.surgery.layers import Adapted, is_conv1d, is_in_adapter, is_linear, is_norm, public_name, unwrap


@dataclass(frozen=True)
class Match:
    """The pattern that matches a module."""

    pattern: int  # the index of the first pattern that matches the module
    first: str | None = None  # the name of the first module, if the pattern matches a span of modules


def match_modules(model: nn.Module, target_modules: Sequence[str]) -> dict[str, Match]:
    """Return the matching modules by name, in the order of the model.

    A span of modules is listed under the name of its last module.

    Raises:
        KronaError: a pattern does not match any module. The message suggests similar names.
    """
    candidates = {
        public_name(name): name
        for name, module in model.named_modules()
        if name and not is_in_adapter(f"{name}.") and not name.endswith(".base") and widths_or_none(module) is not None
    }
    matches: dict[str, Match] = {}
    for number, item in enumerate(target_modules):
        pattern, _, end = item.partition(":")
        plain = fnmatch.translate(pattern).replace(re.escape("#"), "[0-9]+")
        fits = re.compile(rf"(?:.*\.)?(?:{plain})", re.DOTALL).match
        last = pattern.rsplit(".", 1)[-1]
        matched = [
            name
            for public, name in candidates.items()
            if fits(public) and ("*" not in last or is_linear(unwrap(model.get_submodule(name))))
        ]
        if not matched:
            ends = sorted({public.rsplit(".", 1)[-1] for public in candidates})
            raise KronaError(
                f"In target_modules, {pattern!r} matches no module of this backbone: {did_you_mean(last, ends)}"
            )
        for name in matched:
            if not end:
                matches.setdefault(name, Match(number))
                continue
            last_name = f"{public_name(name).removesuffix(pattern)}{end}"
            if last_name not in candidates:
                raise KronaError(
                    f"In target_modules, {item!r} does not match a span of modules, because it begins at "
                    f"{public_name(name)}, but {last_name} was not found."
                )
            matches.setdefault(candidates[last_name], Match(number, first=name))
    return {name: matches[name] for name, _ in model.named_modules() if name in matches}


def widths_or_none(module: nn.Module) -> tuple[int, int] | None:
    """Return (d_in, d_out) of a linear layer, a LayerNorm, an FFN or an attention block. Return None otherwise."""
    module = unwrap(module)
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if is_conv1d(module):
        rows, columns = module.get_parameter("weight").shape
        return rows, columns
    if is_norm(module):
        weight = module._parameters.get("weight")
        if weight is None or weight.dim() != 1 or isinstance(module, nn.GroupNorm):
            return None
        return len(weight), len(weight)
    first, last = end_layers(module)
    if module is first:
        return None
    d_in, d_out = getattr(first, "in_features", None), getattr(last, "out_features", None)
    return (d_in, d_out) if isinstance(d_in, int) and isinstance(d_out, int) else None


def end_layers(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return the first and the last layer of T5's FFN or attention block. For others, return (module, module)."""
    children = dict(module.named_children())
    first = next((children[name] for name in ("wi", "wi_0", "q") if name in children), module)
    last = next((children[name] for name in ("wo", "o") if name in children), module)
    return (module, module) if module in (first, last) else (unwrap(first), unwrap(last))


def widths_at(adapted: Adapted) -> tuple[int, int]:
    """Return (d_in, d_out) of an adapted module, or of the adapted model part that ends with this module."""
    return widths(adapted.base, adapted.capture.first if adapted.capture else None)


def widths(module: nn.Module, first: nn.Module | None = None) -> tuple[int, int]:
    """Return (d_in, d_out) of a module, or of the span from ``first`` to the module.

    Raises:
        KronaError: the module is not a linear layer, a LayerNorm, an FFN or an attention block.
    """
    pair = widths_or_none(module)
    if pair is None:
        raise KronaError(f"A branch cannot be placed at a {type(module).__name__}. Use other target_modules.")
    return pair if first is None else (widths(first)[0], pair[1])
