"""Test parameter counts against the paper and the libraries, and the tables of `krona params`."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pages
import pytest

from krona import KronaError
from krona.backbones.load import meta_model
from krona.display_names import method_labels
from krona.paper import read_paper_table
from methods.cases import CASES
from tiny_t5 import METHODS
from typed_config import settings
from typed_run import PROJECT, krona

COUNTS = {name: (case.count, case.rank) for name, case in CASES.items() if case.count is not None}


def params(*words: str) -> list[Any]:
    """Return the rows of `krona params WORDS --json` as objects."""
    return json.loads(krona("params", *words, "--json"), object_hook=lambda row: SimpleNamespace(**row))


@pytest.fixture(scope="module")
def t5_base() -> dict[str, Any]:
    return {row.method: row for row in params()}


def one(backbone: str, *overrides: str) -> Any:
    (row,) = params("--backbone", backbone, *overrides)
    return row


def test_counts_and_ranks_on_t5_base(t5_base: dict[str, Any]) -> None:
    assert {name: (t5_base[name].trainable_params, t5_base[name].update_rank) for name in COUNTS} == COUNTS
    assert set(t5_base) == set(METHODS)
    assert one("t5_base", "method=krona", "factors=2x384").update_rank == 4
    assert one("t5_base", "method=krona", "factors=2x384", "++method.terms=3").update_rank == 12
    assert one("t5_base", "method=krona_b", "++method.non_linearity=silu").update_rank is None


def test_the_page_of_the_methods_is_current(t5_base: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krona.cli.parameter_table.rows", lambda backbone: ([*t5_base.values()], []))
    table = "\n".join(pages.methods())
    text = (pages.DOCS / "methods" / "index.md").read_text(encoding="utf-8")
    assert f"<!-- generated: methods -->\n{table}\n<!-- end -->" in text, "run make schema"


def test_the_params_column_falls_out_under_one_rule(t5_base: dict[str, Any]) -> None:
    with (PROJECT / "sweeps" / "paper" / "table1.csv").open() as table1:
        printed = {row["method"]: float(row["params"]) for row in csv.DictReader(table1)}
    assert len(printed) == 9
    assert {name: t5_base[name].printed_percent for name in printed} == printed
    assert {name: t5_base[name].paper_percent for name in printed} == printed
    rounded = {name: round(t5_base[name].trainable_percent, 2) for name in printed}
    assert rounded["bitfit"] == 0.13 != printed["bitfit"]  # so it cuts


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        (("method=krona_b", "++method.bias=2"), 159_744),
        (("method=krona_b", "++method.modules_per_target=1"), 102_912),  # 0.046 %: two give the printed 0.07
        (("method=krona_b_res", "++method.bias=2"), 159_792),
        (("method=adapter", "++method.bottleneck_dim=24"), 1_855_104),
        (("method=lora", "method.target_modules=[q,k,v,o]"), 268_800),
        (("method=lora", "method.train_layer_norms=false"), 110_592),  # 0.0496 %: with LayerNorms the printed 0.07
        (("method=pa", "method.train_layer_norms=false"), 92_208),  # 0.0414 %
        (("method=krona_dora",), 158_208 + 72 * 768),
    ],
)
def test_counts_of_overrides(overrides: tuple[str, ...], count: int) -> None:
    assert one("t5_base", *overrides).trainable_params == count


def test_full_counts_of_other_backbones() -> None:
    assert one("flan_t5_base", "method=full").trainable_params == 247_577_856  # its checkpoint has an untied head
    assert one("t5_small", "method=full").trainable_params == 60_506_624
    assert one("t5_large", "method=full").trainable_params == 737_668_096


# without the head and BERT's pooler. Their model cards give, in millions: 109, 109, 124, 184, 149, 22.7, 1,236, 494,
# 135.
PUBLISHED = {
    "bert_base": 109_482_240 - 768 * 769,
    "mpnet_base": 108_895_872,
    "roberta_base": 124_055_040,
    "deberta_v3_base": 183_831_552,
    "modernbert_base": 149_014_272,
    "minilm_l6": 22_713_216 - 384 * 385,
    "llama_3_2_1b": 1_235_814_400,
    "qwen2_5_0_5b": 494_032_768,
    "smollm2_135m": 134_515_008,
}


SLOW = ("roberta_base", "deberta_v3_base", "llama_3_2_1b", "qwen2_5_0_5b")  # their families have other models
BACKBONES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in PUBLISHED]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_counts_of_other_backbones_are_the_librarys(backbone: str) -> None:
    full, lora, untuned = params("--backbone", backbone, "method=full,lora,untuned")
    model = meta_model(settings(f"backbone={backbone}", "data=sample", "task=sample_rte").backbone)
    encoder = "SequenceClassification" in type(model).__name__
    own = model.base_model if encoder else model
    published = full.trainable_params
    assert published == PUBLISHED[backbone]
    # deberta and modernbert have parts of their head outside the base model, as every encoder has its classifier
    assert published == own.num_parameters() - (768 * 769 if backbone == "bert_base" else 0)
    assert bool(encoder) == (untuned.head_params > 0) == (untuned.head_params == model.num_parameters() - published > 0)
    assert 0 < lora.trainable_params < 0.002 * published


def test_grouped_queries_give_each_layer_its_own_b() -> None:
    row = one("smollm2_135m", "method=krona", "method.train_layer_norms=false")
    # 30 blocks; the paper's A fits q, 576 → 576, with B (18, 24), and v, 576 → 192, with B (18, 8)
    assert row.trainable_params == 30 * (32 * 24 + 18 * 24 + 32 * 24 + 18 * 8)


def test_multiply_adds(t5_base: dict[str, Any]) -> None:
    assert t5_base["lora"].multiply_adds == 72 * 1_536
    assert t5_base["pa"].multiply_adds == 24 * (2 * 768 * 2 + 768)  # and the factor s of the output
    assert t5_base["krona"].multiply_adds == 72 * 2 * 32 * 24 * 24  # A first: 24 · 24 · (32 + 32)
    assert t5_base["compacter"].multiply_adds == 48 * 2 * (768 * 4 + 16 * 24)  # by its factors


def test_elementwise_products_count(t5_base: dict[str, Any]) -> None:
    assert t5_base["dora"].multiply_adds == 72 * (1_536 + 768)
    assert t5_base["krona_b_res"].multiply_adds == t5_base["krona_b"].multiply_adds + 24 * 768


def test_launches(t5_base: dict[str, Any]) -> None:
    assert t5_base["pa"].launches == 120
    assert t5_base["full"].launches == t5_base["layer_norm"].launches == 0


def test_the_notebooks_table_2_divides_as_it_says_and_has_this_projects_launches(t5_base: dict[str, Any]) -> None:
    text = (pages.DOCS / "notebook.md").read_text(encoding="utf-8").split("in the paper's Table 2")[1].split("\n## ")[0]
    table = re.findall(r"^\|.*\|$", text, flags=re.MULTILINE)
    head, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in table)
    printed, authors, ratios, ours = (dict(zip(head[1:], map(float, line[1:]), strict=True)) for line in lines)
    labels = method_labels()
    paper = {labels[name]: row["latency"] for name, row in read_paper_table("2").rows.items()}
    launches = {labels[name]: row.launches for name, row in t5_base.items()}
    for method in head[1:]:
        assert printed[method] == round(paper[method] / 100 - 1, 2)
        assert ratios[method] == round(authors[method] / 1150, 2)
        assert ours[method] == launches[method] <= authors[method]
    assert {*head[1:]} == {method for method, latency in paper.items() if latency > 100}


def test_methods_that_do_not_take_an_override_are_named() -> None:
    printed = krona("params", "method=lora,krona,krona_b", "++method.bias=2").splitlines()
    rows = [line.split()[0] for line in printed if line.startswith(("krona ", "krona_b "))]
    assert rows == ["krona", "krona_b"]
    assert [line.partition(".")[0] for line in printed if "left out" in line] == ["left out: lora: Unknown key method"]


@pytest.mark.parametrize(
    ("backbone", "overrides", "words"),
    [
        ("t5_base", ["--method", "krona"], ["--method is not an option", "Its options are --backbone and --json"]),
        ("local", [], ["backbone.path"]),
        ("t5_base", ["method=krona_b", "method.kron_factors=[[32,24],[32,24]]"], ["Tables 17 and 18", "1024 → 576"]),
        ("nano", ["backbone.sizes={d_model: 7}"], ["backbone.sizes={d_model: 7}"]),
    ],
)
def test_mistakes_are_one_message(backbone: str, overrides: list[str], words: list[str]) -> None:
    with pytest.raises(KronaError) as caught:
        params("--backbone", backbone, *overrides)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_commands() -> None:
    rows = json.loads(krona("params", "method=krona,lora", "--json"))
    wanted = {"method", "trainable_params", "trainable_percent", "paper_percent", "update_rank"}
    assert [row["method"] for row in rows] == ["krona", "lora"]
    assert wanted <= set(rows[0])
    printed = krona("params", "krona")
    assert "158,208" in printed
    assert "0.1260 → 0.12" in printed
    with pytest.raises(KronaError, match=r"method\.bias=1,2 has several values, which only method= accepts"):
        krona("params", "++method.bias=1,2")


def test_a_method_of_ones_own_is_counted_if_the_command_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "method").mkdir(parents=True)
    text = "method: {name: mine, _target_: mine_of_this_test.Mine, target_modules: [q, v], rank: 2}"
    (tmp_path / "conf" / "method" / "mine.yaml").write_text(f"# @package _global_\noptimizer: {{lr: 1e-3}}\n{text}\n")
    (tmp_path / "mine_of_this_test.py").write_text("from krona.methods.lora import LoRA as Mine\n")
    (row,) = json.loads(krona("params", "mine", "--backbone", "nano", "--json"))
    assert row["trainable_params"] > 0
    with pytest.raises(KronaError, match=r"method\.rang"):
        krona("params", "mine", "--backbone", "nano", "++method.rang=3")
