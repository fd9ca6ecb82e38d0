"""Test sweeps: the runs that they expand to, overrides of their values, and the state of each run."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

import tiny_models
import tiny_t5
from krona import surgery
from krona.backbones.insert_method import insert_method
from krona.config import check, overrides
from krona.config.compose import compose_job, hydra_session
from krona.messages import KronaError
from krona.paths import CONF, PROJECT
from krona.runs.result import write_result
from krona.runs.sweep import load_command, save_command
from krona.sweeps import plan
from krona.sweeps.status import count_states, find_runs, seconds_left
from report.generate import make_result

RUNS = {
    "table1": 72,
    "table2": 72,
    "table8": 72,
    "table4": 16,
    "table5": 40,
    "table6": 5,
    "table7": 16,
    "table9": 7,
    "factor_shapes": 16,
    "lora_ga": 20,
    "seeds": 5,
    "train_rows": 96,
    "superglue": 54,
}


def expand(*words: str) -> list[tuple[str, ...]]:
    with hydra_session():
        return overrides.expand(words)


@pytest.mark.parametrize("name", sorted(RUNS))
def test_each_sweep_has_the_runs_that_it_names(name: str) -> None:
    jobs = expand(f"sweeps={name}")
    assert len(set(jobs)) == RUNS[name]


def shapes_of(*overrides: str) -> list[str]:
    jobs = expand("sweeps=factor_shapes", *overrides)
    return [item.partition("=")[2] for job in jobs for item in job if item.startswith("method.kron_factors=")]


def test_factor_shapes_have_the_width_of_the_backbone() -> None:
    widths = {
        "bert_base": 768, "deberta_v3_base": 768, "flan_t5_base": 768, "llama_3_2_1b": 2048, "minilm_l6": 384,
        "modernbert_base": 768, "mpnet_base": 768, "nano": 192, "qwen2_5_0_5b": 896, "roberta_base": 768,
        "smollm2_135m": 576, "t5_3b": 1024, "t5_base": 768, "t5_large": 1024, "t5_small": 512,
    }  # fmt: skip
    assert widths.keys() == {path.stem for path in (CONF / "backbone").glob("*.yaml")} - {"hub", "local"}
    for name, width in widths.items():
        shapes = [json.loads(shape)[0] for shape in shapes_of(f"backbone={name}")]
        assert len(shapes) > 4, name
        assert all(a1 * a2 == width for a1, a2 in shapes), name


@pytest.mark.parametrize("kind", ["gpt2", "distilbert", "llama", "bert"])
def test_factor_shapes_of_a_folder_fit_the_places_of_krona(kind: str, tmp_path: Path) -> None:
    model = tiny_models.tiny(kind)
    model.config.save_pretrained(tmp_path)
    shapes = shapes_of("backbone=local", f"backbone.path={tmp_path}")
    assert len(shapes) == (3 if kind == "llama" else 4)  # v of this llama is 32 → 16, so A cannot have 16 columns
    for shape in shapes:
        insert_method(model, tiny_t5.settings("krona", kron_factors=json.loads(shape)))
        surgery.take_out(model)


def test_factor_shapes_without_a_width_say_what_gives_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for typed in (["backbone=hub", "backbone.name=a/b"], ["backbone=local", f"backbone.path={tmp_path}"]):
        with pytest.raises(Exception, match=r"needs the width of the backbone.*sizes: \{hidden_size: 768\}"):
            expand("sweeps=factor_shapes", *typed)


def test_every_sweep_file_is_tested() -> None:
    files = {path.stem for path in (PROJECT / "sweeps").glob("*.yaml")}
    assert files - {"compare"} - {path for path in files if path.startswith("tune")} == set(RUNS)


def test_the_seed_chooses_the_subset_of_training_rows() -> None:
    (job,) = expand("sweeps=train_rows", "method=lora", "data.train_rows=16", "seed=2")
    with hydra_session():
        data = check.settings(compose_job(job).config).data
    assert (data.train_rows, data.subset_seed, data.seed) == (16, 2, 42)


def test_a_typed_axis_replaces_that_of_the_sweep() -> None:
    jobs = expand("sweeps=table1", "task=rte,cola", "seed=0,1", "method=lora")
    assert len(jobs) == 4
    assert all("method=lora" in job for job in jobs)


@pytest.mark.parametrize(
    ("number", "typed", "overrides"),
    [
        ("1", [], ["sweeps=table1"]),
        ("lora_ga", [], ["sweeps=lora_ga"]),
        ("9", ["profile=demo"], ["sweeps=table9", "profile=demo", "task=sample_mnli"]),
        ("9", ["profile=demo", "task=sample_rte"], ["sweeps=table9", "profile=demo", "task=sample_rte"]),
    ],
)
def test_the_overrides_of_a_table(number: str, typed: list[str], overrides: list[str]) -> None:
    assert plan.table_overrides(number, typed) == overrides
    with pytest.raises(KronaError, match=r"Table 30 has no runs.*lora_ga, 10, "):
        plan.table_overrides("30", typed)


@pytest.mark.parametrize(("number", "method"), [("14", "lora"), ("16", "krona"), ("18", "krona_b_res")])
def test_a_table_of_hyper_parameters_runs_its_methods_row_of_table_1(number: str, method: str) -> None:
    jobs = expand(*plan.table_overrides(number, ["seed=0,1"]))
    assert len(jobs) == 16
    assert all({f"method={method}", f"sweep=table{number}"} <= set(job) for job in jobs)


def test_the_plan_has_the_state_of_each_run(tmp_path: Path) -> None:
    overrides = ["profile=demo", "method=krona,lora", "seed=0,1"]
    waiting = plan.list_states(overrides, outputs=tmp_path)
    assert [run.state for run in waiting] == ["waiting"] * 4
    changes: list[dict[str, Any]] = [
        {"status": "done", "times": {"total": 10.0}},
        {"status": "failed", "error": "it broke"},
        {"status": "running", "progress": {"epoch": 1, "step": 5, "steps": 10}},
    ]
    for run, change in zip(waiting, changes, strict=False):
        result = make_result("krona", "sample_rte")
        vars(result).update({"run_id": run.run_id, "config": dict(waiting[0].config or {}), **change})
        write_result(tmp_path / run.run_id, result)
    claim = {"host": os.uname().nodename, "pid": os.getpid(), "token": "x"}
    claim_file = tmp_path / waiting[2].run_id / "claim.json"
    claim_file.write_text(json.dumps(claim))
    runs = plan.list_states(overrides, outputs=tmp_path)
    assert [run.state for run in runs] == ["done", "failed", "running", "waiting"]
    assert runs[1].error == "it broke"
    assert count_states(runs) == "4 runs: 1 done, 1 running, 1 waiting, 1 failed"
    assert seconds_left(runs, tmp_path) == pytest.approx(5 + 10)  # half of the running run, and all of the waiting run
    assert [run.run_id for run in find_runs(None, ["state=failed"], tmp_path)] == [waiting[1].run_id]
    claim_file.write_text(json.dumps({**claim, "pid": 2**22 + 1}))  # its process has ended
    assert plan.list_states(overrides, outputs=tmp_path)[2].state == "interrupted"


@pytest.mark.parametrize("content", ['{"sweep": "tab', "{}"])
def test_a_damaged_command_of_a_sweep_says_how_to_repair_it(content: str, tmp_path: Path) -> None:
    save_command(tmp_path, "table1", [])
    (tmp_path / "sweeps" / "table1.json").write_text(content)
    with pytest.raises(KronaError, match=r"table1\.json does not contain a sweep's command .* Run the sweep's command"):
        load_command(tmp_path, "table1")
