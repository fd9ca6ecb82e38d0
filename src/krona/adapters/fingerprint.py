"""Compute the fingerprint of a backbone, and check that a model has a given fingerprint.

A fingerprint contains a hash of the names and shapes of all weights, and hashes of the frozen weights' values. An
adapter file contains the fingerprint of its backbone, so that the adapter is not inserted into another backbone. The
values are rounded to fp32, bf16 and fp16 before they are hashed, so that a backbone is recognised in another dtype.
"""

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from krona.messages import KronaError
from krona.surgery.layers import is_quantised, original_shape, public_name
from krona.surgery.state import adapted_modules, backbone_parameters, get_adapter

SAMPLE = 64  # the number of values of each frozen weight that the hash ``frozen`` contains
# in descending order of precision
ROUNDINGS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BLOCK = 1 << 18  # the number of values in a block; a block fits into the cache of a CPU core
ROW = 512  # the number of 64-bit words in a row of a block


class OtherBackboneError(KronaError):
    """The error for a model that is not the adapter's backbone."""


class Fingerprint(BaseModel):
    """The entry of an adapter file that identifies its backbone."""

    model_config = ConfigDict(strict=True, frozen=True)

    parameters: int
    shapes: str  # the hash of the names and shapes of all weights
    frozen: str  # the hash of a sample of the frozen weights' values
    marks: dict[str, str]  # maps each possible rounding (`ROUNDINGS`) to the hash of all frozen values
    quantisation: str | None = None  # the setting backbone.quantisation
    pooling: str | None = None  # the setting backbone.pooling; None for other models, and for transformers' own head


@torch.no_grad()
def take_fingerprint(model: nn.Module, *, trained: Container[str], wanted: Fingerprint | None = None) -> Fingerprint:
    """Return the fingerprint of the backbone's original weights, without the values of the weights ``trained``.

    If ``wanted`` is given and both backbones have common roundings, only the most precise of them is computed.
    """
    weights = _weights(model)
    frozen = {key: weight for key, weight in weights.items() if key not in trained}
    # fp32 weights can be rounded to every dtype, but weights in bf16 or in fp16 only to their own
    dtypes = {weight.dtype for weight in frozen.values() if weight.is_floating_point()}
    dtypes -= {torch.float64, torch.float32}
    roundings = [rounding for rounding, dtype in ROUNDINGS.items() if not dtypes or dtypes == {dtype}]
    if wanted is not None:
        roundings = [rounding for rounding in roundings if rounding in wanted.marks][:1] or roundings
    samples = (w.reshape(-1)[:: max(1, w.numel() // SAMPLE)][:SAMPLE] for w in frozen.values())
    merged_in_4_bits = "krona" in model.__dict__ and bool(get_adapter(model).layers_before_merge)
    return Fingerprint(
        parameters=sum(original_shape(weight).numel() for weight in weights.values()),
        shapes=_hash(f"{key} {tuple(original_shape(weight))}\n".encode() for key, weight in weights.items()),
        frozen=_hash(sample.to("cpu", torch.bfloat16).view(torch.int16).numpy().tobytes() for sample in samples),
        marks=_hash_values(frozen, roundings),
        quantisation="nf4" if merged_in_4_bits or any(map(is_quantised, model.modules())) else None,
        pooling=getattr(getattr(model, "config", None), "krona_pooling", None),
    )


def require_backbone(
    model: nn.Module, wanted: Fingerprint, path: Path | None, *, trained: Container[str], any_values: bool = False
) -> None:
    """Check that a model is the backbone with the fingerprint ``wanted`` of the adapter file at ``path``.

    The values of the weights ``trained`` are not compared and, with ``any_values``, no values.

    Raises:
        OtherBackboneError: the pooling, the quantisation, or the names, shapes or values of the weights differ, or the
            values cannot be compared because of their dtypes.
    """
    here, label = take_fingerprint(model, trained=trained, wanted=wanted), str(path or "The adapter")
    require_form(here, wanted, label)
    if here.shapes != wanted.shapes:
        raise OtherBackboneError(
            f"{label} belongs to another backbone, whose weights have other names or shapes. That backbone has "
            f"{wanted.parameters:,} parameters, and this backbone has {here.parameters:,}. Load the adapter's backbone."
        )
    if not any_values and not has_values(here, wanted):
        raise OtherBackboneError(
            f"{label} belongs to another backbone, whose weights have the same shapes but other values. Load the "
            "adapter's own backbone in fp32, or pass other_backbone=True to Adapter.insert in Python."
        )


def require_form(here: Fingerprint, wanted: Fingerprint, label: str) -> None:
    """Raise `OtherBackboneError`, with a message that begins with ``label``, if pooling or quantisation differ."""
    for key in ("pooling", "quantisation"):
        there, own = (getattr(fingerprint, key) or "null" for fingerprint in (wanted, here))
        if there != own:
            raise OtherBackboneError(
                f"{label} was trained with backbone.{key}={there}, but this backbone has backbone.{key}={own}. Set "
                f"backbone.{key}={there}."
            )


def has_values(here: Fingerprint, wanted: Fingerprint) -> bool:
    """Return whether two backbones have the same values after rounding to the most precise common dtype.

    Weights in fp16 and weights in bf16 have no common dtype. For these, a sample of the values is compared.
    """
    common = [rounding for rounding in here.marks if rounding in wanted.marks]
    return here.marks[common[0]] == wanted.marks[common[0]] if common else here.frozen == wanted.frozen


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the backbone's weights by public name, with their values before adapters were inserted."""
    weights: dict[str, Tensor] = dict(backbone_parameters(model))
    if "krona" in model.__dict__:
        inserted = get_adapter(model)
        weights |= inserted.originals
        for module, adapted in adapted_modules(model):
            if adapted in inserted.layers_before_merge:
                weights[f"{public_name(module)}.weight"] = inserted.layers_before_merge[adapted].get_parameter("weight")
            elif adapted.merged:
                weights[f"{public_name(module)}.weight"] = inserted.weights_before_merge[adapted.base, "weight"]
    return {key: weights[key] for key in sorted(weights)}


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _hash_values(weights: Mapping[str, Tensor], roundings: Sequence[str]) -> dict[str, str]:
    """Return a hash of all values for each rounding.

    The bits of each block of values are read as a matrix of integers, whose row sums and column sums are hashed. Sums
    of integers are exact, so the hash does not depend on the device or the number of threads.
    """
    digests = {rounding: hashlib.blake2b(digest_size=8) for rounding in roundings}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads would mostly wait for each other, because the blocks are small
    try:
        for key, weight in weights.items():
            sums: dict[str, list[Tensor]] = {rounding: [] for rounding in roundings}
            for block in torch.split(weight.reshape(-1), BLOCK):
                for rounding in roundings:
                    rounded = block.to(ROUNDINGS[rounding]) if block.is_floating_point() else block
                    padded = F.pad(rounded, (0, -len(rounded) % (ROW * 8 // rounded.element_size())))
                    rows = padded.contiguous().view(torch.int64).view(-1, ROW)
                    sums[rounding] += [rows.sum(0), rows.sum(1)]
            for rounding, digest in digests.items():
                digest.update(f"{key}\n".encode())
                digest.update(torch.cat(sums[rounding]).cpu().numpy().tobytes())
    finally:
        torch.set_num_threads(threads)
    return {rounding: digest.hexdigest() for rounding, digest in digests.items()}
