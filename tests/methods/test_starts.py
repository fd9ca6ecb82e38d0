"""Compare the initial values of LoRA with those of peft, which changes the weights of the backbone instead."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from krona import surgery
from krona.messages import KronaError
from krona.methods.lora import LoRA
from tiny_t5 import batch, close, logits, snapshot, tiny_t5, without_dropout

pytestmark = [  # of peft
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning"),
]
RANK = 3
EXACT = 1e-10  # largest difference in fp64, relative to the largest value


def rows(count: int = 2) -> list[dict[str, Tensor]]:
    """Return batches of one row each without padding."""
    return [{key: value[:1] for key, value in batch(seed).items()} for seed in range(count)]


def exact_lowrank(matrix: Tensor, q: int, niter: int) -> tuple[Tensor, Tensor, Tensor]:
    U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    return U[:, :q], S[:q], Vh[:q].T


@pytest.fixture
def peft(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return peft, which here computes in fp64 instead of fp32, and with an exact SVD instead of an approximation."""
    peft = pytest.importorskip("peft")
    from peft.tuners.lora import layer

    changed = {"float32": torch.float64, "svd_lowrank": exact_lowrank}
    names = {name: getattr(torch, name) for name in dir(torch)}
    monkeypatch.setattr(layer, "torch", SimpleNamespace(**{**names, **changed}))
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    return peft


def peft_model(peft: Any, init: str, scaling: float, targets: list[str]) -> Any:
    model = without_dropout(tiny_t5()).double()
    start = {"init_lora_weights": init, "lora_alpha": scaling * RANK}
    if init == "lora_ga":
        start["lora_ga_config"] = peft.LoraGAConfig()
    config = peft.LoraConfig(r=RANK, target_modules=targets, **start)
    if init == "lora_ga":

        def pass_over_rows() -> None:
            for one in rows():
                surgery.preparation.model_loss(model, one).backward()

        peft.tuners.lora.preprocess_loraga(model, config, pass_over_rows)
    adapted = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    if init == "lora_ga":  # peft has the same singular vectors as the authors of LoRA-GA, with other norms
        for module in adapted.modules():
            if hasattr(module, "lora_A"):
                A, B = module.lora_A["default"].weight.data, module.lora_B["default"].weight.data
                module.base_layer.weight.data += scaling * B @ A
                norm = module.out_features**0.25 / 16**0.5
                A *= norm / A.norm(dim=1, keepdim=True)
                B *= norm / B.norm(dim=0)
                module.base_layer.weight.data -= scaling * B @ A
    return adapted.eval()


@pytest.mark.parametrize("init", ["pissa", "olora", "lora_ga"])
@pytest.mark.parametrize("targets", [["q", "v"], ["wi", "wo"]])  # the widths of the layers of an FFN differ
def test_the_first_step_is_that_of_peft(peft: Any, init: str, targets: list[str]) -> None:
    scaling = 1.5
    theirs = peft_model(peft, init, scaling, targets)
    ours = without_dropout(tiny_t5()).double()
    start, backbone = logits(ours), snapshot(ours)
    surgery.insert(ours, LoRA, target_modules=targets, rank=RANK, scaling=scaling, init=init, train_layer_norms=False)
    surgery.prepare(ours, rows())
    for model in (ours, theirs):
        assert close(logits(model), start, EXACT)
    assert all(torch.equal(p, backbone[surgery.public_name(n)]) for n, p in ours.named_parameters() if ".base." in n)
    for model in (ours, theirs):
        model(**batch(7)).loss.backward()
    found = {surgery.public_name(n): p.grad for n, p in ours.named_parameters() if p.requires_grad}
    compared = 0
    for name, parameter in theirs.named_parameters():
        if parameter.requires_grad:
            place, _, factor = name.removeprefix("base_model.model.").removesuffix(".default.weight").rpartition(".")
            gradient = found[f"{place}.0.{factor.removeprefix('lora_')}"].T
            assert close(gradient, parameter.grad, EXACT), name
            compared += 1
    assert compared == len(found) > 0


def test_eva_has_the_components_of_peft(peft: Any) -> None:
    model = without_dropout(tiny_t5()).double()
    ours = copy.deepcopy(model)
    surgery.insert(ours, LoRA, target_modules=["encoder.*.q"], rank=RANK, init="eva")
    surgery.prepare(ours, rows(1))
    config = peft.LoraConfig(
        r=RANK, target_modules=r"encoder.*\.q", init_lora_weights="eva", eva_config=peft.EvaConfig(rho=1.0)
    )
    adapted = peft.get_peft_model(model, config, low_cpu_mem_usage=True)
    theirs = peft.tuners.lora.get_eva_state_dict(
        adapted, rows(1), prepare_model_inputs_fn=None, prepare_layer_inputs_fn=None, show_progress_bar=False
    )
    own = {n: p for n, p in surgery.trainable_state(ours).items() if n.endswith(".A")}
    assert len(own) == len(theirs) == 2
    for name, A in own.items():
        components = theirs[f"base_model.model.{name.removesuffix('.0.A')}"].double().T  # in fp32
        assert ((A * components).sum(0).abs() - 1).abs().max() < 1e-4  # equal up to the sign


@pytest.mark.parametrize("magnitude", [False, True])
@pytest.mark.parametrize("init", ["pissa", "olora", "lora_ga", "eva"])
def test_a_branch_without_initial_values_does_not_train(init: str, magnitude: bool) -> None:
    model = tiny_t5().double()
    start, options = logits(model), {"target_modules": ["q"], "rank": RANK, "init": init, "magnitude": magnitude}
    surgery.insert(model, LoRA, **options)
    model.train()
    with pytest.raises(KronaError, match=r"surgery\.prepare"):
        model(**batch())
    if init in ("lora_ga", "eva"):
        with pytest.raises(KronaError, match="batches"):
            surgery.prepare(model)
    surgery.prepare(model.eval(), iter(rows(3)))
    assert close(logits(model), start, EXACT)
    model.train()(**batch()).loss.backward()
    before = snapshot(model)
    surgery.prepare(model)  # they have their values already
    assert all(torch.equal(value, before[name]) for name, value in snapshot(model).items())
    again = tiny_t5().double()
    surgery.insert(again, LoRA, **options)
    again.load_state_dict({name: value for name, value in before.items() if ".branches." not in name}, strict=False)
    assert not surgery.is_prepared(again)
    again.load_state_dict(before)
    surgery.prepare(again)  # the loaded values stay
    assert all(torch.equal(value, before[name]) for name, value in snapshot(again).items())
    again.train()(**batch())
