"""Test that the module and its data loaders in a plain `pl.Trainer` give the scores and weights of the run."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment

from krona import surgery
from krona.messages import KronaError
from krona.runs.result import read_result
from krona.training.in_python import module_and_loaders
from krona.training.trainer import quiet_libraries
from one_job import config

QUIET: dict[str, Any] = {
    "logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu",
    "enable_checkpointing": False,
}  # fmt: skip


def trainer(**more: Any) -> pl.Trainer:
    quiet_libraries()
    return pl.Trainer(**QUIET, plugins=[LightningEnvironment()], **more)


def test_validate_test_and_predict_equal_the_run(overrides: list[str], done: Path) -> None:
    result = read_result(done / "result.json")
    module, loaders = module_and_loaders(config(*overrides, f"init_from={done}"))
    lightning = trainer()
    (dev,) = lightning.validate(module, loaders.dev, verbose=False)
    (test,) = lightning.test(module, loaders.test, verbose=False)
    assert dev == pytest.approx({"val/score": result.dev["score"], "val/accuracy": result.dev["parts"]["accuracy"]})
    assert test["test/score"] == pytest.approx(result.test["score"])
    batches: Any = lightning.predict(module, loaders.test)
    order: Any = loaders.test.batch_sampler
    texts = [text for batch in batches for text in batch]
    written = [line for line in (done / "predictions.jsonl").read_text().splitlines() if '"split": "test"' in line]
    assert len(texts) == len(written) == 5
    for row, text in zip(order.order, texts, strict=True):
        assert f'"prediction": "{text}"' in written[row]


@pytest.mark.parametrize(("with_dev", "options"), [(True, {}), (False, {}), (True, {"val_check_interval": 2})])
def test_fit_trains_as_the_run_does(
    with_dev: bool, options: dict[str, Any], overrides: list[str], done: Path, tmp_path: Path
) -> None:
    result = read_result(done / "result.json")
    module, loaders = module_and_loaders(config(*overrides))
    lightning = trainer(max_epochs=3, default_root_dir=tmp_path, **options)
    lightning.fit(module, *([loaders.train, loaders.dev] if with_dev else [loaders.train]))
    assert [row["loss"] for row in module.dev_curve] == [row["loss"] for row in result.dev_curve]
    scores = [row["score"] for row in result.dev_curve]
    assert [row["score"] for row in module.dev_curve] == scores
    metrics = lightning.callback_metrics
    assert float(metrics["val/score"]) == pytest.approx(scores[-1])
    assert float(metrics["train/loss"]) == pytest.approx(result.dev_curve[-1]["loss"])
    module.restore_best()
    other, _ = module_and_loaders(config(*overrides, f"init_from={done}"))
    one, two = surgery.trainable_state(module.model), surgery.trainable_state(other.model)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_one_batch_is_scored_and_other_loaders_are_refused(overrides: list[str]) -> None:
    module, loaders = module_and_loaders(config(*overrides, "trainer.eval_batch_size=2"))
    (scores,) = trainer(limit_val_batches=1).validate(module, loaders.dev, verbose=False)
    assert scores["val/score"] in (0.0, 50.0, 100.0)
    with pytest.raises(KronaError, match="only the dev and test loaders"):
        trainer().validate(module, loaders.train)
