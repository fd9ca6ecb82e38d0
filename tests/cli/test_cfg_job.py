"""Test `--cfg job`: it shows the config that the run would use, and raises the errors that the run would raise."""

import pytest
import yaml

from krona import KronaError
from typed_config import choices, normalize, render, run_id


def test_the_values_of_a_run_and_its_id() -> None:
    text = render("method=krona", "task=rte")
    values = yaml.safe_load(text)
    assert values["method"]["kron_factors"] == [[32, 24], [24, 32]]
    assert values["method"]["fit_factors"] == "nearest"
    assert values["trainer"]["max_epochs"] == 20
    assert text.startswith("# krona-rte-t5_base-32x24-s0-")
    assert "${" not in text


FAST = ("peft/lora", "peft/adalora")  # all types of peft have one branch class; AdaLoRA has arguments in steps


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name.startswith("peft/") and name not in FAST else [])
        for name in choices("method")
    ],
)
def test_the_id_is_that_of_the_run(name: str) -> None:
    """`--cfg job` does not import the branch, and the run does."""
    given = ["++method.config.peft_type=LORA"] if name == "peft" else []  # method=peft alone has no type
    overrides = [f"method={name}", "task=rte", "optimizer.lr=0.1", *given]
    assert render(*overrides).startswith(f"# {run_id(*overrides)}\n")


def test_the_fitted_shape_stands_beside_the_papers() -> None:
    text = render("profile=demo", "method=krona")
    assert "  kron_factors:  # on this backbone [[16, 12], [12, 16]]" in text
    assert "# The paper's factor shape (32, 24) becomes (16, 12) on layers 192 → 192" in text
    assert yaml.safe_load(text)["method"]["kron_factors"] == [[32, 24], [24, 32]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["method.kron_factors=[[5,8]]"], "(5, 8)"),
        (["backbone=local", "backbone.path=${project:}/weights/nothing"], "run make weights in the repository"),
        (["method=lora", "factors=32x24"], "method.kron_factors"),
        (["optimizer.lr_decay=0.1"], "optimizer.lr_decay"),
    ],
)
def test_it_refuses_what_the_run_would_refuse(arguments: list[str], words: str) -> None:
    with pytest.raises(KronaError) as caught:
        render(*arguments)
    assert words in str(caught.value)


def test_of_a_multirun_the_first_job_is_shown() -> None:
    text = render("-m", "profile=demo", "seed=3,4", "method=lora,krona")
    assert text.startswith("# the first of 4 runs: profile=demo seed=3 method=lora\n")
    assert yaml.safe_load(text)["seed"] == 3


def test_an_argument_that_no_yaml_sets_is_added_with_a_plus() -> None:
    assert yaml.safe_load(render("method=krona", "+method.terms=2"))["method"]["terms"] == 2
    assert yaml.safe_load(render("++method.bias=1"))["method"]["bias"] == 1
    assert normalize(["seed=2,4", "-m", "+method.terms=2"]) == ["-m", "seed=2,4", "+method.terms=2"]
    with pytest.raises(KronaError, match=r"Unknown key method.terms: .* write \+method.terms=VALUE"):
        render("method=krona", "method.terms=2")
    with pytest.raises(KronaError, match="did you mean 'terms'"):
        render("method=krona", "+method.term=2")
