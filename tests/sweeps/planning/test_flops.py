"""Operations, bytes and the speed that runs tell, against sums done by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import tiny_models
from krona.backbones.families import Sizes
from krona.backbones.families.sizes import sizes_in
from krona.messages import KronaError
from krona.outputs.result import Result
from krona.sweeps.planning import measured
from krona.sweeps.planning.flops import elements, forward, memory, step
from krona.sweeps.planning.lengths import Lengths
from krona.sweeps.planning.speed import Load, Speed, fit
from report.generate import make_result
from tiny_t5 import tiny_t5

TINY = Sizes(d_model=4, d_kv=2, d_ff=8, heads=2, encoder=1, decoder=1, vocabulary=10, gated=False, params=1_000)
HERE = measured.Wanted(
    card=None, device="cpu", threads=1, precision="32-true", backbone="google-t5/t5-base",
    sizes=make_result().config["backbone"]["sizes"],
)  # fmt: skip
ROWS = Lengths(train=100, dev=20, test=40, mean=10.0, longest=30.0, counted=True)


def load(batch_size: int = 10, *, epochs: int = 2, all_train: bool = False, sizes: Sizes = TINY) -> Load:
    return Load(
        method="krona", sizes=sizes, lengths=ROWS, batch_size=batch_size, micro_batch_size=None, eval_batch_size=20,
        steps=epochs * -(-ROWS.train // batch_size), evaluations=epochs, test=True, all_train=all_train,
    )  # fmt: skip


def test_operations_of_a_forward_pass() -> None:
    # encoder, a token: four products 4×4, two 4×8, scores and values over 5 tokens of width 4
    encoder = 2 * 4 * 16 + 2 * 2 * 32 + 2 * 2 * 5 * 4
    # decoder: k and v of its cross-attention from each source token; a target token has six products 4×4, two 4×8,
    # attends to 5 + 3 tokens, and meets the vocabulary
    cross = 2 * 2 * 16
    target = 2 * 6 * 16 + 2 * 2 * 32 + 2 * 2 * 8 * 4 + 2 * 4 * 10
    assert forward(TINY, rows=7, source=5, target=3) == 7 * (5 * (encoder + cross) + 3 * target)


@pytest.mark.parametrize("kind", ["t5", *tiny_models.NAMES])
def test_operations_are_those_that_torch_counts(kind: str) -> None:
    model = tiny_t5() if kind == "t5" else tiny_models.tiny(kind)
    model.set_attn_implementation("eager")  # torch does not count the fused one of a CPU
    rows, source, target = 6, 24, 3
    family, batch = tiny_models.family_for(model), tiny_models.family_batch(model, rows, source, target)
    sizes = family.sizes(model.config, sum(p.numel() for p in model.parameters()))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(**family.inputs(model, batch))
    counted = counter.get_total_flops()
    assert forward(sizes, rows=rows, source=source, target=target) == pytest.approx(counted, rel=0.04)


def test_a_config_that_names_its_ffn_otherwise() -> None:
    config = SimpleNamespace(model_type="new", hidden_size=8, num_attention_heads=2, num_hidden_layers=1, vocab_size=9)
    with pytest.raises(KronaError, match=r"config of a new has none of intermediate_size.*FFN_WIDTHS of src/krona"):
        sizes_in(config, 100, decoder=0, vocabulary=9, gated=False)


def test_numbers_between_products() -> None:
    token = 6 * 4 + 4 * 4 + 2 * 8 + 2 * 5  # norms and residuals, attention, the FFN, a softmax over 5 tokens in 2 heads
    decoder = 5 * 2 * 4 + 3 * (1.5 * token + 3 * 10)
    assert elements(TINY, rows=7, source=5, target=3) == 7 * (5 * token + decoder)


def test_frozen_weights_save_a_third_of_a_step() -> None:
    frozen, whole = (step(TINY, rows=7, source=5, all_train=everything) for everything in (False, True))
    assert frozen == 2 * forward(TINY, rows=7, source=5)
    assert whole == 1.5 * frozen


def test_memory_counts_gradients_and_moments_of_what_trains() -> None:
    none, some = (memory(TINY, rows=0, source=0, trainable=t, precision="32-true") for t in (0, 100))
    assert none == 4 * 1_000
    assert some - none == 100 * (4 + 8)
    half = memory(TINY, rows=0, source=0, trainable=100, precision="bf16-frozen")
    assert half == 2 * 900 + 4 * 100 + 100 * (4 + 8)


def test_padding_grows_with_the_batch_and_ends_at_the_longest() -> None:
    assert ROWS.mean < ROWS.padded(8) < ROWS.padded(32) < ROWS.padded(100) == ROWS.padded(500) == ROWS.longest


def ran(one: Load, speed: Speed) -> tuple[Load, Result]:
    result = make_result("krona", "rte", 0, rows=20)
    result.times = {"setup": 3.0, "train": speed.training(one), "evaluate": 2 * speed.evaluating(one)}
    return one, result


def test_two_batches_tell_operations_from_what_a_step_costs_besides() -> None:
    true = Speed(rate=1e6, per_block=0.01)
    found = fit([ran(load(5), true), ran(load(50, epochs=4), true)])
    assert found.rate == pytest.approx(1e6)
    assert found.per_block == pytest.approx(0.01)
    assert (found.evaluation, found.setup) == (pytest.approx(2), 3.0)
    other = load(20, epochs=5, sizes=Sizes(**{**vars(TINY), "encoder": 3, "d_ff": 32}))
    assert found.training(other) == pytest.approx(true.training(other))


def test_two_widths_tell_numbers_between_products_from_operations() -> None:
    true = Speed(rate=1e6, per_block=0.01, per_element=3e-5)
    wide, wider = (Sizes(**{**vars(TINY), "d_model": 4 * k, "d_kv": 2 * k, "d_ff": 8 * k}) for k in (3, 8))
    known = [load(5), load(50, epochs=4), load(5, sizes=wide), load(50, epochs=4, sizes=wide)]
    found = fit([ran(one, true) for one in known])
    assert (found.rate, found.per_block, found.per_element) == pytest.approx((1e6, 0.01, 3e-5))
    assert found.training(load(20, sizes=wider)) == pytest.approx(true.training(load(20, sizes=wider)))
    alone = fit([ran(one, true) for one in known[:2]])
    assert alone.per_element == 0
    assert alone.training(load(20)) == pytest.approx(true.training(load(20)), rel=0.02)
    assert alone.training(load(20, sizes=wider)) > 1.3 * true.training(load(20, sizes=wider))


def test_one_batch_takes_all_time_for_operations() -> None:
    found = fit([ran(load(10), Speed(rate=1e6, per_block=0.0)), ran(load(10, epochs=4), Speed(1e6, 0.0))])
    assert (found.rate, found.per_block) == (pytest.approx(1e6), 0.0)


def test_a_method_that_takes_more_is_known_by_its_own_factor() -> None:
    speed = Speed(rate=1e6, per_block=0.0, methods={"krona": 1.25})
    assert speed.training(load()) == pytest.approx(1.25 * Speed(1e6, 0.0).training(load()))


def test_a_batch_in_parts_passes_the_blocks_as_often() -> None:
    parts = Load(**{**vars(load(10)), "micro_batch_size": 4})
    assert parts.training()[0] == 3 * load(10).training()[0]


def test_runs_of_the_planned_backbone_go_before_others() -> None:
    own, other = ran(load(5), Speed(1e6, 0.01)), ran(load(50, epochs=4), Speed(5e6, 0.01))
    other[1].config["backbone"]["name"] = "nano"
    speed, said = measured._fitted([own, other], HERE, "here")
    assert speed.training(own[0]) == pytest.approx(own[1].times["train"])
    assert "1 run here" in said[0]
    _, said = measured._fitted([other], HERE, "here")
    assert "of d_model 4, not of google-t5/t5-base; runs of a second width" in said[1]


def test_sizes_typed_over_a_backbones_own_make_it_another() -> None:
    typed = ran(load(5), Speed(1e6, 0.01))
    typed[1].config["backbone"]["sizes"] = {"d_model": 4}
    assert "not of google-t5/t5-base" in measured._fitted([typed], HERE, "here")[1][1]
    wanted = measured.Wanted(**{**vars(HERE), "sizes": {"d_model": 4}})
    assert len(measured._fitted([typed], wanted, "here")[1]) == 1
