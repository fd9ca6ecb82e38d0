"""Test the commands that a report shows: they give the same runs as the command of the whole table."""

import shlex

import pytest

from krona.config import check
from krona.config.compose import Composer, compose_job, hydra_session
from krona.config.multirun import expand
from krona.report.build import collect
from krona.report.sections import override_words
from krona.runs.result import write_result
from krona.sweeps.plan import table_overrides
from krona.training.jobs.job import identify
from report.generate import make_result


def configs_of(number, typed, composer):
    """Return a dict from the run ids of ``krona table NUMBER TYPED`` to their configs."""
    configs = [composer.job(job).config for job in expand(table_overrides(number, typed))]
    return {identify(check.settings(config)): config for config in configs}


def write_run(outputs, number, run_id, config) -> None:
    result = make_result(config["method"]["name"], config["task"]["name"])
    result.run_id = run_id
    result.config = {**config, "sweep": f"table{number}" if number.isdecimal() else number}
    write_result(outputs / run_id, result)


@pytest.mark.parametrize(
    ("number", "typed"),
    [
        ("1", ["method=full,krona,pa", "task=rte,stsb"]),
        ("4", ["task=mnli"]),
        ("5", ["task=rte"]),
        ("6", []),
        ("7", ["profile=demo", "task=sample_rte,sample_mnli"]),
        ("9", []),
        ("lora_ga", ["method=full,lora,krona", "task=sst2"]),
    ],
)
def test_a_missing_cells_command_makes_the_run_of_the_table(tmp_path, number, typed) -> None:
    """Each run of the table is in the cell whose command starts it."""
    with hydra_session():
        composer = Composer()
        first, *others = configs_of(number, typed, composer).items()
        write_run(tmp_path, number, *first)
        table = collect(tmp_path, table=number).tables[0]
        missing = {
            (row.key, key): shlex.split(cell.command)
            for row in table.rows for key, cell in row.cells.items() if cell.command and cell.missing == "no run"
        }  # fmt: skip
        assert all(words[:3] == ["krona", "table", number] for words in missing.values())
        tasks = {config["task"]["name"] for _, config in (first, *others)}
        methods = {config["method"]["name"] for _, config in (first, *others)}
        asked = {place: words[3:] for place, words in missing.items() if _names(words, tasks, methods)}
        made = {place: [*configs_of(number, words, composer)] for place, words in asked.items()}
    for run_id, config in others:
        write_run(tmp_path, number, run_id, config)
    table = collect(tmp_path, table=number).tables[0]
    found = {place: [run.result.run_id for run in table.cell(*place).runs] for place in made}
    assert found == made
    assert sorted(run_id for ids in made.values() for run_id in ids) == sorted(run_id for run_id, _ in others)


def _names(words, tasks, methods) -> bool:
    """Return whether a command has one of the tasks and one of the methods, if any."""
    typed = dict(word.split("=", 1) for word in words[3:])
    return typed["task"] in tasks and typed.get("method", next(iter(methods))) in methods


CHOICES = [
    [],
    ["backbone=t5_small", "data=tsv", "data.path=/glue"],
    ["backbone=flan_t5_base", "backbone.revision=abc"],
    ["backbone=hub", "backbone.name=someone/t5", "backbone.tied_head=false"],
    ["backbone=local", "backbone.path=/elsewhere/t5_base", "data.seed=7", "data.train_rows=100"],
    ["backbone.pretrained=false", "backbone.sizes.d_model=64", "data.skip_bad_rows=true"],
    ["backbone=local", "backbone.path=/t5", "backbone.sizes={d_model:64,feed_forward_proj:gated-gelu}"],
]


@pytest.mark.parametrize("words", CHOICES, ids=" ".join)
def test_the_words_for_a_backbone_and_data_compose_to_the_same(words) -> None:
    with hydra_session():
        config = compose_job(words).config
        again = compose_job([*override_words(config["backbone"], config["data"], "glue")]).config
    assert (again["backbone"], again["data"]) == (config["backbone"], config["data"])


def test_the_demo_profile_chooses_backbone_and_data() -> None:
    with hydra_session():
        config = compose_job(["profile=demo", "data.train_rows=100"]).config
    assert override_words(config["backbone"], config["data"], "sample") == ("profile=demo", "data.train_rows=100")
