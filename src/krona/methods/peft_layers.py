"""Define how branch classes convert their branches to peft's layers, and back.

A class whose branches correspond to a peft layer has the attribute ``peft_type`` and two methods:

- ``to_peft()`` returns the entries of peft's config for one branch and the tensors of peft's layer, or None if peft has
  no layer for this branch.
- ``from_peft(layers, config)`` returns a branch class, its arguments, and the branches' tensors by module and name, or
  None if the class cannot represent peft's layers. ``layers`` contains the tensors and numbers of peft's layers by
  module and name.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from krona.messages import KronaError

Layers = Mapping[str, Mapping[str, Any]]
Converted = tuple[type[nn.Module], dict[str, Any], dict[str, dict[str, Tensor]]]  # the result of ``from_peft``


def common_scale(layers: Layers) -> tuple[float, dict[str, float]]:
    """Return the most common scale other than 0, and the ratio of each module's scale to this scale.

    In krona, all modules of an adapter have the same scale. The tensors of modules with other scales are multiplied by
    the ratio.
    """
    scales = {name: float(layer["scaling"]) for name, layer in layers.items()}
    counted = Counter(scale for scale in scales.values() if scale != 0.0)
    if not counted:
        return 0.0, dict.fromkeys(scales, 1.0)
    common = counted.most_common(1)[0][0]
    return common, {name: scale / common for name, scale in scales.items()}


def one_value(noun: str, values: Mapping[str, Any]) -> Any:
    """Return the value that all modules have in common.

    Raises:
        KronaError: the values differ. ``noun`` is the name of the values in the message.
    """
    distinct = set(values.values())
    if len(distinct) > 1:
        raise KronaError(
            f"It has several {noun} ({', '.join(map(str, sorted(distinct)))}), but krona supports only one."
        )
    return distinct.pop()
