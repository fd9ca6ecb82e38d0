"""Test the loss on held-out text, for T5's span corruption and for the next tokens of a language model.

The references are the text itself and the loss of transformers.
"""

from pathlib import Path
from random import Random

import pytest
import torch

import tiny_backbones
from krona import tasks
from krona.backbones import load as backbones
from krona.backbones.pretraining_loss import SHIPPED, HeldOut, corrupt, held_out_loss, read_lines, tokenise_held_out
from krona.config.settings import Backbone
from krona.messages import KronaError
from passages import held_out_texts, passage
from tasks.glue_files import config

LINES = "the cat sat on the mat\n\nx\na dog under the mat\nyes the dog sat under the cat on a mat\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(LINES)
    return tmp_path / "text.txt"


def loaded(folder: Path) -> backbones.Loaded:
    task = tasks.Task.from_config(config("rte"))
    found = backbones.load(Backbone(name="local", path=str(folder)), task, seed=0)
    found.model.eval()
    return found


def test_t5_gets_spans_of_the_text_back(tiny_folder: Path, file: Path) -> None:
    backbone = loaded(tiny_folder)
    tokenizer = backbone.tokenizer
    text = tokenise_held_out(backbone.family, file)
    assert (text.objective, text.text) == ("span corruption", "text.txt")
    first = text.rows[0]
    end, sentinels = tokenizer.eos_token_id, {tokenizer.get_vocab()[f"<extra_id_{i}>"] for i in range(16)}
    spans: dict[int, list[int]] = {}
    for token in first["labels"][:-1]:
        if token in sentinels:
            spans[token] = []
        else:
            spans[next(reversed(spans))].append(token)
    whole = [piece for token in first["input_ids"][:-1] for piece in spans.get(token, [token])]
    assert spans
    assert whole == tokenizer("the cat sat on the mat", add_special_tokens=False)["input_ids"]
    assert first["input_ids"][-1] == first["labels"][-1] == end
    assert text == tokenise_held_out(backbone.family, file)
    found = held_out_loss(backbone.model, backbone.family, HeldOut([first], "one", text.objective))
    tensors = {name: torch.tensor([values]) for name, values in first.items()}
    with torch.no_grad():
        assert found == pytest.approx(float(backbone.model(**tensors).loss), rel=1e-5)


def test_a_decoder_predicts_each_next_token(file: Path, tmp_path: Path) -> None:
    backbone = loaded(tiny_backbones.write(tmp_path / "llama", "llama"))
    text = tokenise_held_out(backbone.family, file)
    assert (text.objective, len(text.rows), text.tokens) == ("next token", 3, 5 + 4 + 9)  # x alone predicts nothing
    total = 0.0
    for line in LINES.split("\n"):
        ids = backbone.tokenizer(line, return_tensors="pt")["input_ids"]
        if ids.shape[1] > 1:
            with torch.no_grad():
                total += float(backbone.model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
    assert held_out_loss(backbone.model, backbone.family, text) == pytest.approx(total / text.tokens, rel=1e-5)


def test_an_encoder_is_refused_with_the_reason(file: Path, tmp_path: Path) -> None:
    backbone = loaded(tiny_backbones.write(tmp_path / "bert", "bert"))
    with pytest.raises(KronaError, match="no language-model head"):
        tokenise_held_out(backbone.family, file)


def test_corruption_keeps_every_token_once() -> None:
    ids, sentinels = list(range(100, 140)), list(range(12))
    source, target = corrupt(ids, sentinels, Random(1))
    assert 0 < len([t for t in target if t >= 100]) < 20
    assert sorted(t for t in source + target if t >= 100) == ids
    assert [t for t in source if t < 12] == [t for t in target if t < 12] == sorted(set(source) & set(sentinels))


def test_the_shipped_text_is_what_the_script_gives_and_not_what_pretraining_begins_with(tiny_folder: Path) -> None:
    texts = read_lines(SHIPPED)
    assert texts == held_out_texts()
    seen = {text for index in range(300) for text in passage(Random(f"pretraining 0 {index}")).texts}
    assert not seen & set(texts[:12])  # single sentences of later ones occur
    text = tokenise_held_out(loaded(tiny_folder).family, None)
    assert (len(text.rows), text.text) == (len(texts), "sample-world sentences")
