"""Test predictions with the log-probability of every label, on tiny models of every architecture."""

from typing import Any

import pytest
import torch
from pytorch_lightning.plugins import HalfPrecision

from krona.backbones.families.encoder_decoder import EncoderDecoder
from krona.backbones.families.family import round_probabilities
from tiny_models import NAMES, family_for, tiny_of
from tiny_t5 import disturb, tiny_t5

TARGETS = {"no": [7], "yes": [9, 4], "maybe": [12, 3, 30]}  # the tokens before the end, of three lengths

# The models are in fp64, but log-probabilities and losses are summed in fp32. The logits are below 100.
FP32 = {"rtol": 1e-5, "atol": 1e-4}


class Words:
    """A tokenizer that encodes only the targets. It decodes tokens as their numbers."""

    pad_token_id = 0

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": TARGETS[text.strip()]}

    def batch_decode(self, rows: torch.Tensor, skip_special_tokens: bool) -> list[str]:
        assert skip_special_tokens
        return [" ".join(str(token) for token in row if token > 1) for row in rows.tolist()]


class WithEnd(Words):
    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [*TARGETS[text.strip()], 1]}


def family_and_model(kind: str) -> tuple[Any, Any]:
    if kind == "t5":
        model = tiny_t5(seed=1)
    else:
        wide = {"init_std": 0.5} if "bart" in kind else {"initializer_range": 0.5}
        model = tiny_of(kind, **({} if kind in ("mt5", "umt5") else wide))
    if model.config.model_type in ("t5", "mt5", "umt5", "distilbert"):
        disturb(model, by=0.4)
    model.config.eos_token_id, model.config.pad_token_id = 1, 0
    family = family_for(model)
    family.tokenizer = WithEnd() if isinstance(family, EncoderDecoder) else Words()
    if not family.generates_text:
        family.targets = list(TARGETS)[: model.config.num_labels]
    return family, model.double()  # in fp32, rounding could decide between two tokens of a row


def sources(rows: int) -> list[dict[str, list[int]]]:
    """Return rows of 3 to 9 tokens."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(3, 10, (rows,), generator=generator).tolist()
    return [{"input_ids": torch.randint(2, 50, (length,), generator=generator).tolist()} for length in lengths]


def batch_of(family: Any, rows: list[dict[str, list[int]]], target: str) -> dict[str, torch.Tensor]:
    return dict(family.collate([{**row, "labels": family.label(target)} for row in rows]))


@pytest.mark.parametrize("kind", [*NAMES, "t5"])
def test_scores_are_the_losses_of_the_labels_and_answers_are_the_answers(kind: str) -> None:
    family, model = family_and_model(kind)
    targets, rows = list(family.targets if not family.generates_text else TARGETS), sources(12)
    batch = batch_of(family, rows, targets[0])
    with torch.no_grad():
        expected = [
            [-float(family.summed_loss(model, batch_of(family, [row], target))) for target in targets] for row in rows
        ]
    answers, scores = family.predict_with_scores(model, batch, targets, longest=4)
    assert len(set(answers)) > 1  # otherwise the test would prove nothing
    assert scores.dtype == (torch.float64 if family.generates_text else torch.float32)
    assert not scores.requires_grad
    torch.testing.assert_close(scores, torch.tensor(expected).to(scores), **FP32)
    assert scores.std(0).min() > 1e-2
    if not family.generates_text:
        torch.testing.assert_close(scores.exp().sum(-1), torch.ones(12), **FP32)
    else:  # a plain loop over rows, labels and tokens in fp64
        for place, row in enumerate(rows):
            for number, target in enumerate(targets):
                alone = batch_of(family, [row], target)
                with torch.no_grad():
                    (steps,) = family.logits(model, alone).log_softmax(-1)
                likelihood = sum(float(step[token]) for step, token in zip(steps, family.label(target), strict=True))
                assert abs(float(scores[place, number]) - likelihood) < 1e-9

    order = [2, 0, 1][: len(targets)] if len(targets) > 2 else [1, 0]
    turned = family.predict_with_scores(model, batch, [targets[i] for i in order], longest=4)
    torch.testing.assert_close(turned[1], scores[:, order], **FP32)
    assert turned[0] == answers
    for place, row in enumerate(rows[:4]):  # each row alone, without padding
        (alone,), score = family.predict_with_scores(model, batch_of(family, [row], targets[0]), targets, longest=4)
        assert alone == answers[place]
        torch.testing.assert_close(score[0], scores[place], **FP32)


def test_labels_of_several_passes_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    family, model = family_and_model("t5")
    batch = batch_of(family, sources(5), "no")
    _, scores = family.predict_with_scores(model, batch, list(TARGETS), longest=4)
    monkeypatch.setattr("krona.backbones.families.encoder_decoder.LABELS", 2)
    torch.testing.assert_close(
        family.predict_with_scores(model, batch, list(TARGETS), longest=4)[1], scores, rtol=0, atol=1e-9
    )
    shares = torch.tensor(round_probabilities(scores.softmax(-1)), dtype=torch.float64)
    torch.testing.assert_close(shares, scores.exp() / scores.exp().sum(1, keepdim=True), rtol=1e-5, atol=0)


def test_a_regression_has_no_labels_to_score() -> None:
    family, model = family_and_model("bert")
    model = tiny_of("bert", num_labels=1, initializer_range=0.5)
    family.targets = None
    batch = family.collate([{**row, "labels": [0.0]} for row in sources(3)])
    _, scores = family.predict_with_scores(model, batch, [], longest=1)
    assert scores.shape == (3, 0)
    numbers = [-100.0, 50.0, 1990.3]  # -100 is a number as any other
    batch = family.collate([{**row, "labels": [number]} for row, number in zip(sources(3), numbers, strict=True)])
    batch = HalfPrecision("bf16-true").convert_input(batch)  # Lightning must not round the numbers
    loss = ((family.logits(model, batch).flatten() - torch.tensor(numbers)) ** 2).sum()
    torch.testing.assert_close(family.summed_loss(model, batch), loss, **FP32)
    assert family.summed_loss(model, family.no_rows(batch)) == 0


@pytest.mark.parametrize("kind", ["t5", "gated t5", "llama"])
@pytest.mark.parametrize("width", [1, 3, 12])
def test_the_same_tokens_as_generate(kind: str, width: int) -> None:
    different, lengths = set(), set()
    for seed in range(4):
        # in fp32, rounding could decide, and a random T5 would predict the same for every source
        model = (
            tiny_of(kind, seed=seed, initializer_range=0.5)
            if kind == "llama"
            else tiny_t5(gated=kind != "t5", seed=seed)
        )
        disturb(model.double(), seed=seed, by=0.4)
        with torch.no_grad():
            model.lm_head.weight[1] *= 2  # so that rows end at different steps
        family = family_for(model)
        family.tokenizer.batch_decode = lambda ids, **_: ids.tolist()
        batch = family.collate([{**row, "labels": [1]} for row in sources(12)])
        tokens, _ = family.predict_with_scores(model, batch, (), longest=width)
        del batch["labels"]
        end = {"eos_token_id": 1, "pad_token_id": 1 if kind == "llama" else 0}
        expected = model.generate(**batch, **end, max_new_tokens=width, do_sample=False, num_beams=1)
        expected = expected[:, batch["input_ids"].shape[1] if kind == "llama" else 1 :]
        assert tokens == expected.tolist()  # with padding, until the last row has ended
        different |= set(map(tuple, tokens))
        lengths |= {row.index(1) if 1 in row else None for row in tokens}
    assert len(different) > 4  # otherwise the test would prove nothing
    assert width < 12 or len(lengths) > 3
