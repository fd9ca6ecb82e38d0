"""Test backbones in 4 bits (``backbone.quantisation: nf4``). The reference is the model with dequantised weights."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import one_job
from branch_faults import find_branch_fault
from krona import surgery
from krona.adapters.adapter_file import Adapter
from krona.adapters.fingerprint import OtherBackboneError, take_fingerprint
from krona.adapters.trained import load as load_adapter
from krona.backbones import load, weights_source
from krona.backbones.insert_method import insert_method
from krona.backbones.weights_source import require_quantisation
from krona.config import check
from krona.messages import KronaError
from krona.surgery.layers import dequantised_layer, is_quantised
from krona.surgery.preparation import is_prepared
from krona.training.plan import require
from one_job import config
from tiny_t5 import METHODS, batch, disturb, same_bits, settings, snapshot, without_dropout

bitsandbytes = pytest.importorskip("bitsandbytes", reason="pip install -e '.[quantised]'")
accelerate = pytest.importorskip("accelerate", reason="pip install -e '.[quantised]'")

REFUSED = ("full", "bitfit")
TRAINED = [name for name in METHODS if name not in (*REFUSED, "untuned")]
MERGED = ["lora", "krona", "dora", "moka", "krona_dora", "lokr", "cdka", "monarch"]
FORMS = ["++backbone.quantisation=nf4", "profile=demo", "task=sample_rte"]


def quantised(*typed: str) -> Any:
    run = check.settings(config(*FORMS, *typed))
    return without_dropout(load.load(run.backbone, run.task, seed=0).model)


@pytest.fixture(scope="module")
def nano() -> Any:
    """Return the backbone nano in 4 bits. A test gets a copy."""
    return quantised("method=lora")


def inserted(nano: Any, name: str, **changes: Any) -> Any:
    model = copy.deepcopy(nano)
    torch.manual_seed(1)
    insert_method(model, settings(name, fit_factors="nearest", **changes))
    if not is_prepared(model):
        surgery.prepare(model, [{key: rows[:1] for key, rows in batch().items()}])
    return model


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(**batch()).logits


def dequantised(model: Any) -> Any:
    """Return a copy of a bare model with plain linear layers."""
    model = copy.deepcopy(model)
    for name, layer in list(model.named_modules()):
        if is_quantised(layer):
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, dequantised_layer(layer))
    return model


def test_all_layers_but_wo_and_the_output_are_quantised(nano: Any) -> None:
    linear = {name: is_quantised(module) for name, module in nano.named_modules() if isinstance(module, nn.Linear)}
    assert {name.rpartition(".")[2] for name, quantised in linear.items() if not quantised} == {"wo", "lm_head"}
    plain = load.load(*_backbone(), seed=0).model
    moved = (logits(nano) - logits(plain)).norm() / logits(plain).norm()
    assert 0.01 < float(moved) < 0.3
    torch.testing.assert_close(
        logits(nano), logits(dequantised(nano)), rtol=1e-5, atol=1e-4
    )  # fp32, other orders of sums
    insert_method(plain, settings("lora"))
    assert surgery.count(inserted(nano, "lora")) == surgery.count(plain)
    assert same_bits(snapshot(nano), snapshot(quantised("method=lora")))


def _backbone() -> tuple[Any, Any]:
    run = check.settings(config("profile=demo", "task=sample_rte", "method=lora"))
    return run.backbone, run.task


def test_layers_that_bitsandbytes_dequantises_wrongly_stay_in_fp32() -> None:
    sizes = ["backbone=t5_small", "backbone.pretrained=false", "+backbone.sizes={num_layers: 1, d_model: 96}"]
    random = quantised("method=lora", *sizes)
    kept = {layer.in_features for layer in random.modules() if isinstance(layer, nn.Linear) and is_quantised(layer)}
    assert kept
    assert not any(width % 64 == 32 for width in kept)


def test_a_missing_library_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_source, "find_spec", lambda name: None)
    command = re.escape('Run: pip install "krona-pet[quantised]"')
    with pytest.raises(KronaError, match=f"nf4 needs bitsandbytes and accelerate. {command}"):
        require_quantisation()


@pytest.mark.parametrize("method", TRAINED)
def test_every_method_trains_with_evaluations_between_the_steps(method: str, nano: Any) -> None:
    model = inserted(nano, method)
    assert find_branch_fault(model) is None
    trained = [p for p in model.parameters() if p.requires_grad]
    frozen = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    losses = []
    for _ in range(6):
        model.train()
        optimizer.zero_grad()
        loss = model(**batch()).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        logits(model)
    assert losses[-1] < losses[0]
    gradients = [p.grad for p in trained if p.grad is not None]
    assert all(torch.isfinite(one).all() for one in gradients)
    below = [p for name, p in model.named_parameters() if p.requires_grad and name.startswith("encoder.block.0.")]
    assert any(p.grad is not None and bool(p.grad.any()) for p in below), "a gradient passes through all layers"
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)


@pytest.mark.parametrize("method", MERGED)
def test_a_merge_is_exact_and_unmerging_restores_the_bits(method: str, nano: Any) -> None:
    model = inserted(nano, method)
    disturb(model, by=0.01)
    before, expected, fingerprint = snapshot(model), logits(model), take_fingerprint(model, trained=())
    surgery.merge(model)
    difference = (logits(model) - expected).abs().max() / expected.abs().max()
    assert float(difference) < 1e-4  # fp32, other orders of sums
    assert take_fingerprint(model, trained=()) == fingerprint
    surgery.unmerge(model)
    assert same_bits(snapshot(model), before)
    surgery.bake(model)
    assert not any(map(is_quantised, model.modules()))
    torch.testing.assert_close(logits(model), expected, rtol=1e-3, atol=1e-2)  # fp32, with other kernels


def test_an_adapter_belongs_to_its_quantisation(nano: Any, tmp_path: Path) -> None:
    model = inserted(nano, "lora")
    adapter = Adapter.of(model)
    assert adapter.config.backbone is not None
    assert adapter.config.backbone.quantisation == "nf4"
    with pytest.raises(OtherBackboneError, match=r"backbone\.quantisation=nf4, but .* backbone\.quantisation=null"):
        adapter.insert(load.load(*_backbone(), seed=0).model)
    again = copy.deepcopy(nano)
    adapter.insert(again)
    assert torch.equal(logits(again), logits(model))


NEEDS = "backbone.quantisation=nf4 needs trainer.compile=false and trainer.precision=32-true or bf16-mixed"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["method=full"], "backbone.quantisation=nf4 freezes weights that full trains."),
        (["method=bitfit"], "backbone.quantisation=nf4 freezes weights that bitfit trains."),
        (["method=lora", "trainer.precision=bf16-true"], NEEDS),
        (["method=lora", "trainer.compile=true"], NEEDS),
        (["method=lora", "++backbone.quantisation=int8"], "backbone.quantisation='int8' must be 'nf4'"),
    ],
)
def test_what_nf4_does_not_support_is_one_message(typed: list[str], message: str) -> None:
    with pytest.raises(KronaError) as caught:
        require(check.settings(config(*FORMS, *typed), own=True))
    assert str(caught.value).startswith(message)


def test_a_run_resumes_to_the_same_bits_and_its_adapter_is_scored_and_exported(
    small: list[str], tmp_path: Path
) -> None:
    chosen = [*small, "method=krona", "++backbone.quantisation=nf4", "trainer.gradient_checkpointing=true"]
    whole, _ = one_job.finish(tmp_path / "whole", *chosen)
    resumed, _ = one_job.finish_after_interrupt(1, tmp_path / "again", *chosen)
    assert one_job.same_files(resumed.folder, whole.folder)
    plain, _ = one_job.finish(tmp_path / "plain", *small, "method=krona")
    assert plain.run_id != whole.run_id
    trained = load_adapter(whole.folder)
    assert trained.evaluate(split="test").score == whole.result.test["score"]
    (_, logits_line) = trained.export("merged", tmp_path / "merged")
    assert float(re.findall(r"equal up to (\S+) of", logits_line)[0]) < 1e-4
    with pytest.raises(KronaError, match=r"--to peft is not possible.*cannot be exported to peft"):
        trained.export("peft", tmp_path / "peft")
