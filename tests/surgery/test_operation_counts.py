"""Test the number of kernels that branches add to a forward pass."""

import torch

from krona.surgery.operation_counts import dispatched, launches
from tiny_t5 import METHODS, inserted, tiny_t5


def test_launches_are_those_of_a_real_forward() -> None:
    tokens = torch.zeros(1, 10, dtype=torch.long)

    def count(model: torch.nn.Module) -> int:
        return dispatched(lambda: model(input_ids=tokens, decoder_input_ids=tokens, use_cache=False)).total()

    bare = count(tiny_t5())
    for name in METHODS:
        model = inserted(name)
        assert count(model) - bare == launches(model), name
