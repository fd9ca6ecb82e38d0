"""Test that greedy decoding gives the tokens of `model.generate`."""

import pytest
import torch

from krona.backbones.families.encoder_decoder import greedy
from tiny_t5 import disturb, tiny_t5

EOS = 1


def sources(seed: int, *, rows: int = 12, longest: int = 9) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (rows, 1), generator=generator)
    mask = (torch.arange(longest) < lengths).long()
    ids = torch.randint(2, 50, (rows, longest), generator=generator) * mask
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("width", [1, 3, 12])
def test_the_same_tokens_as_generate(gated: bool, width: int) -> None:
    different, lengths = set(), set()
    for seed in range(4):
        model, batch = tiny_t5(gated=gated, seed=seed).double(), sources(seed)  # in fp32, rounding could decide
        disturb(model, seed=seed, by=0.4)  # a random T5 would predict the same for every source
        with torch.no_grad():
            model.lm_head.weight[EOS] *= 2  # so that rows end at different steps
        expected = model.generate(**batch, max_new_tokens=width, do_sample=False, num_beams=1)[:, 1:]
        got = greedy(model, model.get_encoder()(**batch), batch["attention_mask"], steps=width)
        assert torch.equal(got, expected)  # with padding, until the last row has ended
        different |= set(map(tuple, got.tolist()))
        lengths |= {row.index(EOS) if EOS in row else None for row in got.tolist()}
    assert len(different) > 4  # otherwise the test would prove nothing
    assert width < 12 or len(lengths) > 3
