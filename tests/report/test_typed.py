"""Test the commands that a report shows: they give the same runs as the command of the whole table."""

import shlex

import pytest

from krona.config import check
from krona.config.compose import Composer, compose_job, hydra_session
from krona.config.multirun import expand
from krona.jobs.job import identify
from krona.report.build import collect
from krona.report.sections import override_words
from krona.runs.result import write_result
from krona.sweeps.plan import table_overrides
from report.generate import make_result


def ids_of(overrides, composer):
    """Return the run ids of ``python train.py -m OVERRIDES``."""
    return [identify(check.settings(composer.job(job).config)) for job in expand(overrides)]


@pytest.mark.parametrize(
    ("number", "typed"),
    [
        ("1", ["method=full,krona,pa", "task=rte,stsb"]),
        ("6", []),
        ("7", ["profile=demo", "task=sample_rte,sample_mnli"]),
        ("9", []),
        ("lora_ga", ["method=full,lora,krona", "task=sst2"]),
    ],
)
def test_a_missing_cells_command_makes_the_run_of_the_table(tmp_path, number, typed) -> None:
    with hydra_session():
        composer, jobs = Composer(), expand(table_overrides(number, typed))
        config = composer.job(jobs[0]).config
        result = make_result(config["method"]["name"], config["task"]["name"])
        result.config = {**config, "sweep": f"table{number}" if number.isdecimal() else number}
        write_result(tmp_path / result.run_id, result)
        wanted = ids_of(table_overrides(number, typed), composer)
        table = collect(tmp_path, table=number).tables[0]
        cells = [cell for row in table.rows for cell in row.cells.values() if cell.command]
        commands = [shlex.split(cell.command) for cell in cells if cell.missing == "no run"]
        assert all(words[:3] == ["krona", "table", number] for words in commands)
        wanted_words = [words[3:] for words in commands if _within(words, jobs)]
        made = [run_id for words in wanted_words for run_id in ids_of(table_overrides(number, words), composer)]
    assert len(wanted) > 1
    assert sorted(made) == sorted(wanted[1:])


def _within(words, jobs) -> bool:
    """Return whether one of the jobs has the method and the task of a command."""
    asked = {word for word in words if word.startswith(("method=", "task="))}
    return any(asked <= set(job) for job in jobs)


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
