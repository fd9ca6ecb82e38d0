"""Fingerprint of a backbone: the names and shapes of its weights, and a mark of the values of those that are frozen.

The mark covers every weight. It is taken of the values rounded to fp32, to bf16 and to fp16, so that a backbone which
was loaded in another dtype is the same backbone. Files from before that keep a sample of 64 values a weight, rounded to
bf16; they are read as they were.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from krona.surgery.wrapper import adapted_modules, of_an_adapter, public_name, state_of

SAMPLE = 64  # values of each frozen weight in the mark of an old file
ROUNDINGS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}  # the finest first
BLOCK = 1 << 18  # values that are rounded and summed at a time, in a core's cache
ROW = 512  # 64-bit words whose sum is taken


def fingerprint(model: nn.Module, *, trained: set[str]) -> dict[str, Any]:
    """Number of weights, hash of names and shapes, and marks of the weights that ``trained`` leaves out.

    The weights are those from before any insertion. ``pooling``: of an encoder, if it is not the library's own.
    """
    weights = _weights(model)
    frozen = {key: weight for key, weight in weights.items() if key not in trained}
    pooling = pooling_of(model)
    return {
        **({} if pooling is None else {"pooling": pooling}),
        "parameters": sum(weight.numel() for weight in weights.values()),
        "shapes": _shapes(weights),
        "frozen": _sample(frozen),
        "marks": _marks(frozen, _roundings(frozen)),
    }


def pooling_of(model: nn.Module) -> str | None:
    """``backbone.pooling`` of an encoder; None: the library's own head."""
    found = getattr(getattr(model, "config", None), "krona_pooling", None)
    return None if found is None else str(found)


def other_pooling(model: nn.Module, wanted: Mapping[str, Any]) -> str | None:
    """An error message if a fingerprint is of a backbone with another pooling."""
    there, here = wanted.get("pooling"), pooling_of(model)
    if there == here:
        return None
    names = [name or "null" for name in (there, here)]
    return (
        f"trained with backbone.pooling={names[0]}, and this backbone has {names[1]}. Set backbone.pooling={names[0]}."
    )


def same_shapes(model: nn.Module, wanted: Mapping[str, Any]) -> bool:
    return bool(_shapes(_weights(model)) == wanted["shapes"])


def parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in _weights(model).values())


def same_values(model: nn.Module, wanted: Mapping[str, Any], *, trained: set[str]) -> bool | None:
    """Whether the weights are those of a fingerprint, to a dtype's rounding; None: no dtype in common tells."""
    frozen = {key: weight for key, weight in _weights(model).items() if key not in trained}
    own, marks = _roundings(frozen), wanted.get("marks", {})
    common = [rounding for rounding in own if rounding in marks]
    if common:
        return bool(_marks(frozen, common[:1])[common[0]] == marks[common[0]])
    if _sample(frozen) == wanted["frozen"]:
        return True
    return None if marks or own == ["float16"] else False


def _weights(model: nn.Module) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {public_name(n): p for n, p in model.named_parameters() if not of_an_adapter(n)}
    if "krona" in model.__dict__:
        state = state_of(model)
        weights |= {key: p for key, p in state.originals.items() if key in weights}
        merged = [place for place, adapted in adapted_modules(model) if adapted.merged]
        weights |= {f"{public_name(place)}.weight": state.own_weights[place] for place in merged}
    return {key: weights[key].detach() for key in sorted(weights)}


def _shapes(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for key, weight in weights.items():
        digest.update(f"{key} {tuple(weight.shape)}\n".encode())
    return digest.hexdigest()


def _sample(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for weight in weights.values():
        if not weight.is_meta:
            sample = weight.reshape(-1)[:: max(1, weight.numel() // SAMPLE)][:SAMPLE]
            digest.update(sample.to("cpu", torch.bfloat16).view(torch.int16).numpy().tobytes())
    return digest.hexdigest()


def _roundings(weights: Mapping[str, Tensor]) -> list[str]:
    """The dtypes to which these weights can be rounded and be what the backbone's, rounded once, are."""
    found = {weight.dtype for weight in weights.values() if weight.is_floating_point()} - {torch.float64, torch.float32}
    if not found:
        return list(ROUNDINGS)
    return [name for name, dtype in ROUNDINGS.items() if found == {dtype}]


def _marks(weights: Mapping[str, Tensor], roundings: Sequence[str]) -> dict[str, str]:
    """Hashes of sums of the rounded values' bits, by row and by column of each block: any weight that changes counts.

    Sums of integers are exact, so they are the same on every device and number of threads.
    """
    digests = {rounding: hashlib.blake2b(digest_size=8) for rounding in roundings}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # blocks are small: on a busy machine threads would wait for each other at every one
    for key, weight in weights.items():
        if weight.is_meta:
            continue
        sums: dict[str, list[Tensor]] = {rounding: [] for rounding in roundings}
        for block in torch.split(weight.reshape(-1), BLOCK):
            for rounding in roundings:
                rounded = block.to(ROUNDINGS[rounding]) if block.is_floating_point() else block
                rows = _as_words(rounded)
                sums[rounding] += [rows.sum(0), rows.sum(1)]
        for rounding, digest in digests.items():
            digest.update(f"{key}\n".encode())
            digest.update(torch.cat(sums[rounding]).cpu().numpy().tobytes())
    torch.set_num_threads(threads)
    return {rounding: digest.hexdigest() for rounding, digest in digests.items()}


def _as_words(values: Tensor) -> Tensor:
    """(rows, ROW): the values' bits as 64-bit integers, with zeros at the end."""
    padded = F.pad(values, (0, -len(values) % (ROW * 8 // values.element_size())))
    return padded.contiguous().view(torch.int64).view(-1, ROW)
