"""Test the YAML files of conf/: each is valid, recipes equal Tables 10-18, and later choices have precedence."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from krona.backbones.insert_method import fitted_factors
from krona.config.choices import is_alias
from krona.display_names import method_label
from krona.runs.result import Result, read_result, write_result
from typed_config import check, choices, compose, compose_all, refusal
from typed_config import settings as run
from typed_run import PROJECT

pytestmark = pytest.mark.slow  # `make check` runs this file
CONF = PROJECT / "conf"

GIVEN = {  # values that the user must set
    "backbone=local": ["backbone.path=FOLDER"],
    "backbone=hub": ["backbone.name=somebody/some-t5"],
    "data=tsv": ["data.path=FOLDER"],
    "experiment=minilm_sst2": ["data.path=FOLDER"],
    "method=peft": ["++method.config.peft_type=LORA"],
}
OTHERS = ("recipe", "bench", "hydra", "callbacks")  # other tests check them


GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in OTHERS)


@pytest.mark.parametrize("choice", [f"{group}={name}" for group in GROUPS for name in choices(group)])
def test_every_choice_composes_and_its_result_is_readable(choice: str, tmp_path: Path) -> None:
    config = compose(choice, *GIVEN.get(choice, [])).config
    typed = check(config)
    group, name = choice.split("=")
    if group in ("method", "task"):
        known = f"peft/{name}" if group == "method" and is_alias(name) else name
        assert getattr(typed, group).name == known  # the name in the file equals the name on the command line
    folder = tmp_path / "run"
    written = Result(
        run_id="run",
        status="running",
        method=typed.method.name,
        task=typed.task.name,
        seed=typed.seed,
        config=config,
        row={"label": typed.method.name, "settings": {}},
        data_kind=typed.task.data_kind,
    )
    assert read_result(write_result(folder, written)).config == config


@pytest.mark.parametrize("name", [name for name in choices("method") if is_alias(name)])
def test_a_former_method_is_its_type_of_peft_and_keeps_its_label(name: str) -> None:
    former = compose(f"method={name}", "profile=demo")
    assert (former.config, former.notes) == (compose(f"method=peft/{name}", "profile=demo").config, [])
    assert f"{method_label(name)} (peft)".replace("C3A", "C³A") == method_label(f"peft/{name}")


def test_every_recipe_belongs_to_a_method_and_a_task() -> None:
    for recipe in choices("recipe"):
        method, _, task = recipe.partition("/")
        assert recipe == "demo" or (method in choices("method") and task in choices("task")), recipe
        assert OmegaConf.load(CONF / "recipe" / f"{recipe}.yaml"), recipe


@pytest.mark.parametrize("method", choices("method"))
def test_the_demo_profile_has_one_learning_rate_but_for_two_methods(method: str) -> None:
    job = compose("profile=demo", f"method={method}", *GIVEN.get(f"method={method}", []))
    assert job.config["optimizer"]["lr"] == {"full": 1e-3, "untuned": 0.0}.get(method, 1e-2)
    assert job.notes == []


@pytest.mark.parametrize("sweep", choices("sweeps"))
def test_every_sweep_consists_of_runs_that_pass_the_check(sweep: str) -> None:
    jobs = compose_all(f"sweeps={sweep}")
    for job in jobs[:: max(1, len(jobs) // 2)]:
        assert check(job.config).sweep == sweep.replace("/", "_")


@pytest.mark.parametrize("sweep", ["sst2_minilm", "mnli_minilm"])
def test_the_grids_krona_has_as_many_parameters_as_its_lora(sweep: str) -> None:
    words = [
        "variant=comparison/krona",
        "data.path=GLUE",
        "backbone.path=null",
        "seed=1",
        "optimizer.lr=1e-3",
        "optimizer.lr_factors.head=1",
    ]
    (job,) = compose_all(f"sweeps=grid/{sweep}", *words)
    shapes = fitted_factors(check(job.config))
    assert sum(a * b for a, b in shapes) == 2 * 384  # LoRA of rank 1: a column and a row


TASKS = ("cola", "rte", "mrpc", "sst2", "stsb", "mnli", "qnli", "qqp")
A, TURNED, FLAT, THREE = (32, 24), (24, 32), (2, 384), (3, 256)
RECIPES: dict[str, list[dict[str, Any]]] = {  # Tables 10-18, one row for each task; STS-B's B in 17 and 18: erratum
    "full": [{"lr": 3e-4}] * 8,
    "bitfit": [{"lr": 3e-4}] * 8,
    "adapter": [{"lr": 3e-3, "bottleneck_dim": 1}] * 8,
    "compacter": [{"lr": 3e-3, "bottleneck_dim": 24, "hypercomplex_division": 4}] * 8,
    "lora": [{"lr": 1e-3, "rank": 1, "scaling": 1}] * 8,
    "pa": [{"lr": lr, "bottleneck_dim": 2, "scaling": 16} for lr in (3e-3, 5e-3, 5e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3)],
    "krona": [
        {"lr": 2e-3 if task == "rte" else 1e-3, "A": shape, "scaling": 1}
        for task, shape in zip(TASKS, (A, A, A, TURNED, FLAT, FLAT, THREE, TURNED), strict=True)
    ],
    "krona_b": [
        {"lr": lr, "A": A, "scaling": scaling, "bias": bias}
        for lr, scaling, bias in zip(
            (1e-3, 5e-3, 5e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3),
            (16, 16, 16, 4, 16, 4, 4, 4),
            (2, 1, 1, 1, 1, 2, 1, 1),
            strict=True,
        )
    ],
    "krona_b_res": [
        {"lr": lr, "A": A, "scaling": scaling, "bias": bias, "residual": "scale"}
        for lr, scaling, bias in zip(
            (1e-3, 5e-3, 5e-3, 1e-3, 9e-4, 1e-3, 1e-3, 1e-3),
            (16, 16, 16, 16, 16, 16, 4, 16),
            (2, 2, 2, 1, 1, 1, 2, 1),
            strict=True,
        )
    ],
}


@pytest.mark.parametrize("method", RECIPES)
def test_the_hyper_parameters_of_tables_10_to_18(method: str) -> None:
    rows = list(zip(TASKS, RECIPES[method], strict=True))
    if not (CONF / "recipe" / method).is_dir():  # there is only the method's YAML, so one task is enough
        assert all(row == rows[0][1] for _, row in rows)
        rows = rows[1:2]
    for task, row in rows:
        typed, expected = run(f"method={method}", f"task={task}"), dict(row)
        assert typed.optimizer.lr == expected.pop("lr"), task
        if shape := expected.pop("A", None):
            a1, a2 = shape
            assert typed.method.branch_config["kron_factors"] == [[a1, a2], [768 // a1, 768 // a2]], task
        assert {key: typed.method.branch_config[key] for key in expected} == expected, task
        assert (typed.batch_size, typed.trainer.max_epochs, typed.optimizer.warmup_steps) == (100, 20, 500), task
        assert (typed.max_source_length, typed.trainer.precision) == (128, "32-true"), task
        assert (typed.optimizer.gradient_clip, dict(typed.optimizer.arguments)) == (1.0, {"weight_decay": 0.0}), task
        assert (typed.backbone.name, typed.data.kind, typed.data.protocol) == ("google-t5/t5-base", "hub", "table1")


def test_the_default_command_is_table_16s_row_for_rte() -> None:
    assert run() == run("method=krona", "task=rte") == run("profile=paper", "recipe=krona/rte")
    assert run().optimizer.lr == 2e-3
    assert run().method.branch_config == {"kron_factors": [[32, 24], [24, 32]], "scaling": 1.0}


def test_method_below_recipe_below_profile_below_what_is_typed() -> None:
    assert run("~recipe").optimizer.lr == 1e-3  # the method's own
    assert run().optimizer.lr == 2e-3  # the recipe's
    demo = run("profile=demo")
    assert (demo.optimizer.lr, demo.optimizer.warmup_steps, demo.trainer.max_epochs) == (1e-2, 30, 5)
    assert (demo.backbone.name, demo.data.kind, demo.task.name) == ("nano", "sample", "sample_rte")
    assert run("profile=demo", "optimizer.lr=5e-4").optimizer.lr == 5e-4
    assert run("profile=demo", "task=sample_sst2").task.name == "sample_sst2"
    assert run("profile=demo", "backbone=t5_small").backbone.name == "google-t5/t5-small"
    paper = run("profile=demo", "trainer=default")  # a profile consists of choices, and each can be overridden
    assert (paper.batch_size, paper.trainer.max_epochs, paper.optimizer.warmup_steps) == (100, 20, 500)


def test_factors_beat_method_and_recipe_and_only_typed_numbers_are_exact() -> None:
    assert run("task=mnli").method.branch_config["kron_factors"] == [[2, 384], [384, 2]]
    typed = run("task=mnli", "factors=12x64")
    assert typed.method.branch_config["kron_factors"][0] == [12, 64]
    assert (typed.method.fit_factors, run("task=mnli").method.fit_factors) == ("nearest", "nearest")
    numbers = ("task=mnli", "factors=12x64", "method.kron_factors=[[48,16]]")
    assert run(*numbers).method.branch_config["kron_factors"] == [[48, 16]]
    assert run(*numbers).method.fit_factors == "exact"
    assert run(*numbers, "method.fit_factors=nearest").method.fit_factors == "nearest"


def test_without_a_recipe_the_methods_values_hold_and_it_is_said() -> None:
    job = compose("method=lokr", "task=rte")
    (note,) = job.notes
    assert "no recipe lokr/rte" in note
    assert "lr 0.001" in note
    assert compose("method=lora", "task=rte").notes == []  # the method's values are its table's row


def test_an_experiment_is_a_whole_setting() -> None:
    typed = [
        "backbone=minilm_l6", "data=tsv", "task=sst2", "data.train_rows=8000", "batch_size=32", "optimizer.lr=3e-3",
        "optimizer.warmup_steps=100", "trainer.max_epochs=2", "trainer.precision=bf16-mixed",
        "trainer.bucket_by_length=true",
    ]  # fmt: skip
    where = [f"backbone.path={PROJECT / 'weights' / 'minilm_l6'}", "data.path=FOLDER"]
    chosen = ["experiment=minilm_sst2", "data.path=FOLDER"]
    for method in ("method=lora", "method=krona"):
        assert run(*chosen, method) == run(*typed, *where, method)
    assert run(*chosen, "task=rte", "optimizer.lr=1e-3").task.name == "rte"
    told = refusal("experiment=nothing")
    assert told.startswith("experiment=nothing does not exist: choose from encoders, mini")
