"""Test the pretraining of the nano backbone: held-out texts, the tokenizer, and repeatability."""

import re
from itertools import islice
from random import Random

import pytest
import torch
from transformers import AutoTokenizer, T5ForConditionalGeneration

import corpus
import sample_tasks
from feed import corrupt
from krona.paths import NANO
from krona.tasks.data_sources import SAMPLE_FINGERPRINT
from pretrain import FINE_TUNING_DROPOUT, Schedule, pretrain

TINY = {"d_model": 16, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2, "vocab_size": 600}
# a label of any task as a separate word
LABEL = re.compile(r"(?<![\d.])[0-5](\.\d)?(?![\d]|\.\d)")
TEMPLATE = re.compile(r"(sentence|question)[12]?\s*:|premise\s*:|hypothesis", re.IGNORECASE)


@pytest.fixture(scope="module")
def drawn():
    return list(islice(corpus.examples(0), 6000))


def sides(item):
    return (item.source,) if item.target is None else (item.source, item.target)


@pytest.mark.slow
def test_the_mixture_shares_no_text_with_the_sample_tasks(drawn):
    held_out = corpus.sample_texts()
    assert all(
        sample_tasks.texts_key(sample_tasks.generate(task, split)[-1]) in held_out
        for task in sample_tasks.TASKS
        for split in sample_tasks.SPLIT_ROWS
    )
    assert not any(corpus.is_held_out(item.texts, held_out) for item in drawn)
    # `texts` contains the texts that the source text contains
    assert all(text in sides(item)[0] for item in drawn for text in item.texts if " " in text)


def test_the_comparison_finds_a_sample_row_in_any_order_and_case():
    held_out = corpus.sample_texts()
    row = sample_tasks.generate("rte", "test")[3]
    pair = (str(row["sentence2"]).upper(), "Something else.", str(row["sentence1"]))
    assert corpus.is_held_out(pair, held_out)
    assert corpus.is_held_out((str(sample_tasks.generate("cola", "train")[7]["sentence"]),), held_out)
    assert not corpus.is_held_out(pair[:2], held_out)


@pytest.mark.slow
def test_the_mixture_has_no_label_and_no_template(drawn):
    assert LABEL.search("a 3.4 b")
    assert not LABEL.search("12 of 20.5 in 1999.")
    for item in drawn:
        for text in sides(item):
            assert not LABEL.search(text), text
        if item.target is None:
            assert not re.search(r"(sentence|question)[12]?\s*:|premise\s*:", item.source)
        else:
            assert not TEMPLATE.search(item.source), item.source
            assert not any(c.isdigit() for c in item.target), item.target


def weights(folder):
    return T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).state_dict()


def test_a_few_steps_give_the_same_backbone_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("pretrain.TOKENIZER_TEXTS", 300)
    monkeypatch.setattr("pretrain.LOG_EVERY", 1)
    plan = Schedule(steps=6, batch_size=4, warmup_steps=2)
    for name in ("one", "other"):
        pretrain(tmp_path / name, plan, TINY)
    one, other = weights(tmp_path / "one"), weights(tmp_path / "other")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert len((tmp_path / "one" / "curve.csv").read_text().splitlines()) == 7


def test_the_nano_backbone_is_a_small_real_t5():
    assert sum(path.stat().st_size for path in NANO.iterdir()) <= 8 * 2**20
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "curve.csv"} <= {
        path.name for path in NANO.iterdir()
    }
    model = T5ForConditionalGeneration.from_pretrained(NANO, dtype=torch.float32)
    attention = [m for m in model.modules() if type(m).__name__ == "T5Attention"]
    assert {tuple(getattr(m, name).weight.shape) for m in attention for name in "qkvo"} == {(192, 192)}
    assert model.config.dropout_rate == FINE_TUNING_DROPOUT > 0
    assert model.lm_head.weight is model.shared.weight
    assert f"`{SAMPLE_FINGERPRINT}`" in (NANO / "README.md").read_text()


def test_the_nano_tokenizer_reads_all_of_ascii_and_fits_the_model():
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    text = " ".join(chr(code) for code in range(33, 127)) + " Quixotic wordings, 3.4 and 0!"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert len(tokenizer) == T5ForConditionalGeneration.from_pretrained(NANO).config.vocab_size
    assert len(tokenizer.tokenize("sentence1:")) == 3
    assert [tokenizer.tokenize(label) for label in ("0", "1", "2")] == [["▁", "0"], ["▁", "1"], ["▁", "2"]]


def test_corruption_keeps_every_token_once() -> None:
    ids, sentinels = list(range(100, 140)), list(range(12))
    source, target = corrupt(ids, sentinels, Random(1))
    assert 0 < len([t for t in target if t >= 100]) < 20
    assert sorted(t for t in source + target if t >= 100) == ids
    assert [t for t in source if t < 12] == [t for t in target if t < 12] == sorted(set(source) & set(sentinels))
