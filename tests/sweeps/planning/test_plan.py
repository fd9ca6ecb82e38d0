"""The plan of a table as it is asked for: cards, what is not known, what is printed."""

import json
from pathlib import Path
from statistics import fmean

import pytest
from typer.testing import CliRunner

import one_job
import tiny_backbones
from krona.backbones.families.decoder import Decoder
from krona.backbones.families.encoder import Encoder
from krona.backbones.tokenizer import load_tokenizer
from krona.cli.krona import app
from krona.config import check
from krona.messages import KronaError
from krona.paths import CONF
from krona.sweeps import workers
from krona.sweeps.planning import command
from krona.sweeps.planning.cards import card_named, read_cards
from krona.sweeps.planning.lengths import lengths_of
from krona.training.rows import load_splits

ONE = ["sweeps=table1", "task=rte", "method=lora,full"]
FAMILY = {"bert": Encoder, "llama": Decoder}


def plan(outputs: Path, *overrides: str, **asked: object) -> command.Plan:
    known = {"card": None, "price": None, "efficiency": None, **asked}
    return command.plan_sweep([*ONE, *overrides], outputs=outputs, **known)  # type: ignore[arg-type]


def test_every_card_has_what_a_plan_needs() -> None:
    for card in read_cards(CONF / "cards.yaml").values():
        assert card.memory > 0
        assert card.price > 0
        assert 0 < card.fp32 < (card.bf16 or 1e9)


def test_a_driver_name_finds_its_card() -> None:
    cards = read_cards(CONF / "cards.yaml")
    assert card_named("NVIDIA A100-SXM4-80GB", cards) is cards["a100_80gb"]
    assert card_named("Tesla V100-SXM2-32GB", cards) is cards["v100"]
    assert card_named("NVIDIA L40S", cards) is cards["l40s"]
    assert card_named("cpu (x86_64)", cards) is None


def test_a_price_is_a_number_of_dollars(tmp_path: Path) -> None:
    with pytest.raises(KronaError, match=r"^--price inf: expected dollars an hour, as 2\.5$"):
        plan(tmp_path, price=float("inf"))


def test_an_unknown_card_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(KronaError, match="did you mean 'a100_80gb'"):
        plan(tmp_path, card="a100_80")


def test_without_runs_the_error_says_what_makes_some(tmp_path: Path) -> None:
    with pytest.raises(KronaError, match=r"-m sweeps=calibration trainer.precision=bf16-mixed on it .*--efficiency"):
        plan(tmp_path, "trainer.precision=bf16-mixed", card="h100")
    with pytest.raises(KronaError, match="sweeps=calibration backbone=t5_small"):
        plan(tmp_path, "backbone=t5_small")


def test_bf16_on_a_card_without_it(tmp_path: Path) -> None:
    with pytest.raises(KronaError, match="v100 has no bf16"):
        plan(tmp_path, "trainer.precision=bf16-mixed", card="v100", efficiency=0.3)


def test_efficiency_needs_a_card_and_a_part_of_one(tmp_path: Path) -> None:
    with pytest.raises(KronaError, match="at most 1"):
        plan(tmp_path, card="h100", efficiency=1.2)
    with pytest.raises(KronaError, match="that --card names"):
        plan(tmp_path, efficiency=0.3)


def test_a_plan_adds_up_and_says_what_it_assumes(tmp_path: Path) -> None:
    found = plan(tmp_path, card="a100_40gb", efficiency=0.5, price=2.0)
    assert [cost.method for cost in found.runs] == ["lora", "full"]
    lora, full = found.runs
    assert 1.2 < full.seconds / lora.seconds < 1.5
    assert full.memory > lora.memory > 4 * 222_903_552
    assert lora.disk > 4 * 158_208 > full.disk, "full fine-tuning keeps no weights unless keep=all"
    assert found.hours == pytest.approx((lora.seconds + full.seconds) / 3600)
    assert found.money == pytest.approx(2 * found.hours)
    text = " ".join(found.assumptions)
    assert "50 % of a100_40gb's data sheet" in text
    assert "rte" in text


@pytest.mark.parametrize(
    ("backbone", "params", "head"), [("bert_base", 108_891_648, 592_130), ("smollm2_135m", 134_515_008, 0)]
)
def test_a_plan_of_an_encoder_and_of_a_decoder(backbone: str, params: int, head: int, tmp_path: Path) -> None:
    lora, full = plan(tmp_path, f"backbone={backbone}", card="a100_40gb", efficiency=0.5).runs
    assert 1.2 < full.seconds / lora.seconds < 1.5
    assert lora.memory > 4 * params
    assert full.memory - lora.memory > 11.9 * params
    norms = {"bert_base": 25 * 2 * 768, "smollm2_135m": 61 * 576}[backbone]
    branches = {"bert_base": 24 * 2 * 768, "smollm2_135m": 30 * (2 * 576 + 576 + 192)}[backbone]
    other = plan(tmp_path, f"backbone={backbone}", "keep=all", card="a100_40gb", efficiency=0.5).runs[1]
    assert lora.disk - full.disk == 4 * (norms + branches + head)
    assert other.disk - full.disk == 4 * (params + head)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_tokens_are_counted_as_the_family_reads_them(kind: str, tmp_path: Path) -> None:
    folder = tiny_backbones.write(tmp_path / kind, kind)
    settings = check.settings(one_job.config("method=lora", *one_job.typed(folder, tmp_path / "rte")))
    tokenizer, train = load_tokenizer(settings.backbone), load_splits(settings).train
    if kind == "bert":  # the pair by itself, between marks
        tokens = [len(tokenizer(*pair)["input_ids"]) for pair in train.texts]
    else:  # the template's words, and " label:"
        tokens = [len(tokenizer(text)["input_ids"]) + 2 for text in train.sources]
    found = lengths_of(settings, FAMILY[kind])
    assert found.counted
    assert found.mean == pytest.approx(fmean(min(n, 24) for n in tokens))


def test_it_is_printed_and_told_as_json() -> None:
    typed = ["table", "1", "--dry-run", "--plan", "--card", "h200", "--efficiency", "0.4", "task=rte", "method=lora"]
    told = CliRunner().invoke(app, [*typed, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.output)["runs"][0]["task"] == "rte"
    shown = CliRunner().invoke(app, typed)
    assert "Plan on h200" in shown.output
    assert "dollars" in shown.output


def test_a_plan_starts_nothing() -> None:
    result = CliRunner().invoke(app, ["table", "1", "--plan"])
    assert "--dry-run" in str(result.exception)


@pytest.mark.parametrize("option", ["--json", "--card=h200", "--price=2", "--efficiency=0.4"])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_what_belongs_to_a_plan_is_refused_without_one(
    option: str, dry: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "run_sweep", lambda *args, **kwargs: pytest.fail("it trains"))
    result = CliRunner().invoke(app, ["table", "1", *dry, option, "task=rte", "method=lora", "seed=0"])
    assert isinstance(result.exception, KronaError)
    assert str(result.exception).startswith("--json, --card, --price and --efficiency need --dry-run --plan")
