"""Test the number of kernels that branches add to a forward pass."""

from functools import partial

import torch

from krona.surgery.operation_counts import count_operations, launches
from tiny_t5 import METHODS, inserted, tiny_t5


def test_launches_are_those_of_a_real_forward() -> None:
    tokens = torch.zeros(1, 10, dtype=torch.long)

    def count(model: torch.nn.Module) -> int:
        call = partial(model, input_ids=tokens, decoder_input_ids=tokens, use_cache=False)
        return count_operations(call)["launches"]

    bare = count(tiny_t5())
    for name in METHODS:
        model = inserted(name)
        assert count(model) - bare == launches(model), name
