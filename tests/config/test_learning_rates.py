"""Test the learning rate and the warm-up outside the paper's setting, and the notes on their origin."""

from typing import Any

import pytest

from typed_config import choices, compose


def values(job: Any) -> tuple[float, float]:
    return job.config["optimizer"]["lr"], job.config["optimizer"]["warmup_steps"]


@pytest.mark.parametrize(
    ("typed", "lr", "warmup"),
    [
        ("method=krona task=rte", 2e-3, 500),
        ("method=full task=rte backbone=t5_large", 3e-4, 500),
        ("method=lora task=rte data.train_rows=100", 1e-3, 0.06),
        ("method=lora task=rte trainer.max_steps=40", 1e-3, 0.06),
        ("method=lora task=rte trainer.max_epochs=3 optimizer.warmup_steps=500", 1e-3, 500),
        ("method=lora ++task.files={train:a.csv}", 1e-3, 0.06),
        ("profile=demo", 1e-2, 30),
        ("method=full backbone=minilm_l6", 1e-4, 0.06),
        ("method=lora backbone=minilm_l6", 3e-3, 0.06),
        ("method=krona task=rte backbone=minilm_l6", 3e-3, 0.06),
        ("method=full backbone=roberta_base", 2e-5, 0.06),
        ("experiment=minilm_sst2 data.path=GLUE method=full", 3e-3, 100),
    ],
)
def test_the_rate_and_the_warm_up_fit_the_method_the_backbone_and_the_data(
    typed: str, lr: float, warmup: float
) -> None:
    assert values(compose(*typed.split())) == (lr, warmup)


@pytest.mark.parametrize("backbone", sorted(set(choices("backbone")) - {"hub", "local"}))
def test_every_backbone_but_t5_has_a_rate_of_its_own_for_full_fine_tuning(backbone: str) -> None:
    full, lora = (compose(f"method={method}", f"backbone={backbone}") for method in ("full", "lora"))
    if "architecture" in full.config["backbone"]:
        assert values(full)[0] < values(lora)[0]
        assert all(
            f"lr {values(job)[0]:g} is from conf/backbone/{backbone}.yaml" in job.notes[0] for job in (full, lora)
        )
    else:
        assert (values(full)[0], values(lora)[0], full.notes, lora.notes) == (3e-4, 1e-3, [], [])
    assert "learning_rates" not in full.config["backbone"]  # adapters and results keep their form


def test_a_default_rate_that_was_not_tuned_on_the_backbone_is_told() -> None:
    (tuned,), (other,) = (compose("method=lora", f"backbone={name}").notes for name in ("minilm_l6", "mpnet_base"))
    assert "not tuned" not in tuned
    assert other.endswith("It was not tuned on this backbone: set optimizer.lr, or run krona tune")


def test_a_rate_of_t5_on_another_architecture_is_told() -> None:
    other = ["method=lora", "backbone=hub", "backbone.name=a/b", "++backbone.architecture=bert"]
    (note,) = compose(*other).notes
    assert "lr 0.001 was found on T5, not on bert" in note
    assert compose(*other, "optimizer.lr=1e-4").notes == []
