"""Test the learner: loss, gradient, schedule, dropout, trainable weights and the best epoch."""

from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import Mock

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from krona import surgery
from krona.backbones.families.encoder_decoder import EncoderDecoder
from krona.config import check
from krona.config.settings import Optimizer, RunSettings
from krona.kernels.t5_modules import use_fast_modules
from krona.messages import KronaError
from krona.training.data import TrainingBatches
from krona.training.learner import Learner
from krona.training.schedule import StepCounts
from krona.training.trainer import AfterEpoch
from one_job import config
from tiny_t5 import batch, close, disturb, inserted, same_bits, snapshot, summed_loss, tiny_t5, without_dropout
from training.test_notebook import trainer

ROWS = 10


def rows() -> list[dict[str, torch.Tensor]]:
    """Return collated rows with labels of 1 to 3 tokens, padded with -100."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for row in range(ROWS):
        ids = torch.randint(2, 50, (6,), generator=generator)
        labels = torch.tensor([2 + row, 7, 1])
        labels[1 + row % 3 :] = -100
        made.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels})
    return made


class Watched(Learner):
    """A learner that records the learning rate, the rows and the training mode of each step."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lrs: list[float] = []
        self.seen: list[list[int]] = []
        self.training_modes: set[bool] = set()

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.lrs.append(self.optimizers().param_groups[0]["lr"])
        self.seen.append(batch["labels"][:, 0].tolist())
        self.training_modes |= {module.training for module in self.model.modules()}
        return super().training_step(batch, batch_idx)


def scores(*values: float) -> Any:
    """Return an evaluation of dev that gives these scores, one for each epoch."""
    parts = [{"score": one, "choice": one, "parts": {"accuracy": one}, "predictions": []} for one in values]
    return Mock(side_effect=parts)


@cache
def default_settings() -> RunSettings:
    return check.settings(config("profile=demo", "method=krona"))


def learner(
    model: nn.Module,
    *,
    dev: Any = None,
    warmup: int = 4,
    total: int = 10,
    optimizer: str = "AdamW",
    lr: float = 1e-2,
    lr_factors: dict[str, float] | None = None,
    clip: float | None = 1.0,
    micro_batch_size: int | None = None,
    patience: int | None = None,
    **calls: Any,
) -> Watched:
    """Return a learner with the default settings, apart from the arguments. ``calls`` are arguments of `Learner`."""
    target = f"torch.optim.{optimizer}" if hasattr(torch.optim, optimizer) else f"{__name__}.{optimizer}"
    known = default_settings()
    settings = replace(
        known,
        optimizer=Optimizer(target=target, lr=lr, lr_factors=lr_factors or {}, gradient_clip=clip, warmup_steps=warmup),
        trainer=replace(known.trainer, patience=patience),
        micro_batch_size=micro_batch_size,
    )
    backbone: Any = Mock(model=model, family=EncoderDecoder(None, None))
    data: Any = Mock(dev=dev or scores(*range(100)))
    return Watched(settings, backbone, data, StepCounts(epoch=3, warmup=warmup, total=total), **calls)


def fit(learner: Learner, folder: Path, *, epochs: int = 2, **more: Any) -> None:
    batches: Any = TrainingBatches(ROWS, batch_size=4, seed=0)
    loader: Any = DataLoader(rows(), batch_sampler=batches)
    trainer(max_epochs=epochs, use_distributed_sampler=False, default_root_dir=folder, **more).fit(learner, loader)


def test_the_loss_is_t5s_own_and_fp32_under_bf16() -> None:
    model, one = tiny_t5(), batch()
    one["labels"][1, 2:] = -100
    tokens = (one["labels"] != -100).sum()
    # a sum of ten values in fp32, in another order
    torch.testing.assert_close(summed_loss(model, one) / tokens, model(**one).loss, rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert summed_loss(model, one).dtype == torch.float32


def test_a_run_with_micro_batches_ends_with_the_same_weights(tmp_path: Path) -> None:
    def weights(micro: int | None) -> dict[str, torch.Tensor]:
        model = without_dropout(
            inserted("lora", tiny_t5().double())
        )  # two halves draw other masks than one whole batch
        # plain steps: AdamW makes a step of full size from a gradient that is zero but for rounding
        fit(learner(model, micro_batch_size=micro, optimizer="SGD", lr=0.1), tmp_path)
        return {name: p.detach().clone() for name, p in surgery.trainable_state(model).items()}

    whole, again, parts = weights(None), weights(None), weights(3)
    assert same_bits(whole, again)
    for name, value in whole.items():
        assert close(parts[name], value, 1e-6), name  # the loss of a part is summed in fp32


def test_the_rate_the_rows_and_the_mode_of_each_step(tmp_path: Path) -> None:
    model = inserted("krona")
    assert not model.training  # the mode after from_pretrained
    tuned = learner(model, warmup=4, total=9)
    fit(tuned, tmp_path, epochs=3)
    expected = [0, 1 / 4, 2 / 4, 3 / 4, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5]
    assert tuned.lrs == pytest.approx([1e-2 * factor for factor in expected])
    assert tuned.training_modes == {True}
    batches = TrainingBatches(ROWS, batch_size=4, seed=0)
    for epoch in range(3):
        batches.set_epoch(epoch)
        assert [2 + row for row in chain(*batches)] == list(chain(*tuned.seen[3 * epoch : 3 * epoch + 3]))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # which peft reads
@pytest.mark.parametrize("train_layer_norms", [False, True])
def test_lora_plus_equals_that_of_peft(train_layer_norms: bool) -> None:
    """peft gives vectors, such as the weights of LayerNorms, the rate of B too."""
    peft, optimizers = pytest.importorskip("peft"), pytest.importorskip("peft.optimizers")
    factors = {"B": 16.0, "layer_norms": 16.0} if train_layer_norms else {"B": 16.0}
    ours = without_dropout(inserted("lora", rank=2, train_layer_norms=train_layer_norms)).double()
    theirs = peft.get_peft_model(
        without_dropout(tiny_t5()).double(),
        peft.LoraConfig(r=2, lora_alpha=2, target_modules=["q", "v"]),
        autocast_adapter_dtype=False,
    )
    use_fast_modules(theirs)  # T5's own LayerNorm rounds to fp32
    pairs = []
    for name, parameter in surgery.trainable_state(ours).items():
        if name.endswith((".A", ".B")):
            module, letter = name.removesuffix(name[-4:]), name[-1]
            other = theirs.get_parameter(f"base_model.model.{module}.lora_{letter}.default.weight")
            other.data.copy_(parameter.T)
        else:
            other = theirs.get_parameter(f"base_model.model.{name}").requires_grad_()
        pairs.append((parameter, other))
    optimizer = learner(ours, optimizer="Adam", lr=1e-3, lr_factors=factors, warmup=0).configure_optimizers()[
        "optimizer"
    ]
    reference = optimizers.create_loraplus_optimizer(theirs, torch.optim.Adam, lr=1e-3, loraplus_lr_ratio=16)
    for step in range(30):
        for model, one in ((ours, optimizer), (theirs, reference)):
            one.zero_grad()
            model(**batch(step)).loss.backward()
            one.step()
    for parameter, other in pairs:
        other = other if parameter.ndim == 1 else other.T
        torch.testing.assert_close(parameter, other, rtol=1e-9, atol=1e-11)  # fp64, with other orders of products


class Norm(torch.optim.SGD):
    """An optimizer that records the norm of the gradient of each step."""

    norms: ClassVar[list[float]] = []

    def step(self, closure: Any = None) -> Any:
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.norms.append(float(torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients]))))
        return super().step(closure)


def test_the_gradient_is_clipped(tmp_path: Path) -> None:
    Norm.norms.clear()
    for clip in (1e-3, None):
        tuned = learner(inserted("full"), optimizer="Norm", lr=1e-6, clip=clip)
        fit(tuned, tmp_path, epochs=1)
    clipped, free = Norm.norms[:3], Norm.norms[3:]
    assert clipped == pytest.approx([1e-3] * 3, rel=1e-2)
    assert min(free) > 1e-2


def test_the_earliest_best_epoch_is_restored(tmp_path: Path) -> None:
    model, after = inserted("krona"), []
    tuned = learner(model, dev=scores(50.0, 70.0, 70.0, 60.0))
    fit(tuned, tmp_path, epochs=4, callbacks=[AfterEpoch(lambda learner: after.append(snapshot(learner.model)))])
    assert tuned.best["epoch"] == 2
    assert [row["score"] for row in tuned.dev_curve] == [50.0, 70.0, 70.0, 60.0]
    assert not same_bits(snapshot(model), after[1])
    tuned.restore_best()
    assert same_bits(snapshot(model), after[1])
    assert set(tuned.state_dict()) == set(surgery.trainable_state(model))  # a checkpoint of kilobytes


@pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (3, 5), (None, 6)])
def test_patience(patience: int | None, epochs: int, tmp_path: Path) -> None:
    tuned = learner(inserted("krona"), dev=scores(50, 60, 60, 55, 59, 58), patience=patience, total=18)
    fit(tuned, tmp_path, epochs=6)
    assert len(tuned.dev_curve) == epochs


def test_a_loss_that_is_not_finite_names_the_step(tmp_path: Path) -> None:
    model = inserted("krona")
    disturb(model)
    tuned = learner(model, optimizer="SGD", lr=1e30, clip=None, warmup=0)
    with pytest.raises(KronaError, match=r"became (nan|inf) in step [23] of epoch 1\. .*optimizer\.lr \(now 1e\+30"):
        fit(tuned, tmp_path, epochs=1)
