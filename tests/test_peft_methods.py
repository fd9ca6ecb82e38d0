"""Test the methods of conf/method/peft, each of which is a type of peft."""

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from branch_faults import find_branch_fault
from krona import surgery
from krona.adapters.peft_folder import write_peft
from krona.backbones.insert_method import insert_method
from krona.backbones.peft_branch import NAME, PeftBranch
from krona.config import check
from krona.kernels.t5_modules import use_fast_modules
from krona.messages import KronaError
from krona.runs.result import read_result
from krona.surgery.state import adapter_state, train_in_fp32
from methods.case import Case
from methods.cases import CASES
from one_job import finish, finish_after_interrupt, same_files
from test_contract import check_life
from tiny_models import evaluate, output, tiny, train
from tiny_t5 import CONF, check_losses, inserted, method_values, settings, without_dropout

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # of torch, for FRoD

METHODS = sorted((CONF / "method" / "peft").glob("*.yaml"))
TYPES = [path.stem for path in METHODS if "PeftBranch" in path.read_text(encoding="utf-8")]
KINDS = ("t5", "bert", "llama")
# Arguments that fit the small layers of the tests, and a schedule for ten steps.
SMALL: dict[str, dict[str, Any]] = {
    "adalora": {"total_step": 30, "tinit": 3, "tfinal": 9},
    "c3a": {"block_size": 8},
    "fourierft": {"n_frequency": 20},
    "frod": {"sparse_rate": 0.1},
    "miss": {"r": 4},
    "oft": {"oft_block_size": 8},
    "psoft": {"r": 4},
    "road": {"group_size": 8},
    "shira": {"r": 2},
    "vblora": {"num_vectors": 20, "vector_length": 8},
    "waveft": {"n_frequency": 20},
}
# Types whose initial values change the output, by their definition or by a factorisation of the weight, and how much.
# Both factors of VB-LoRA are mixtures of a bank of small random vectors.
STARTS_AWAY = {"c3a": 1.0, "fourierft": 10.0, "unilora": 0.01, "vblora": 0.01} | dict.fromkeys(
    ("deft", "frod", "hra", "osf"), 1e-5
)
# peft computes the updates of these types in fp32, which rounds relative to 6e-8.
MERGES_IN_FP32 = {"c3a", "deft"}
# peft merges BEFT into the layer's bias, which the layers of T5 and Llama do not have.
NOT_MERGED = {("lily", kind) for kind in KINDS} | {("beft", "t5"), ("beft", "llama")}
TARGETS = {  # the names of the modules in each model
    "t5": {"others": ["q", "v"], "ia3": ["k", "v", "wo"], "ln_tuning": ["layer_norm"]},
    "bert": {
        "others": ["query", "value"],
        "ia3": ["key", "value", "layer.0.output.dense", "layer.1.output.dense"],
        "ln_tuning": ["LayerNorm"],
    },
}


def config(name: str) -> dict[str, Any]:
    values: dict[str, Any] = method_values(f"peft/{name}")["config"]
    return {**values, **SMALL.get(name, {})}


@pytest.fixture(scope="module", autouse=True)
def small_arguments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in TYPES:
            case = Case(
                arguments={"config": config(name)},
                start=STARTS_AWAY.get(name, 0.0),
                merge_tolerance=1e-6 if name in MERGES_IN_FP32 else 1e-9,
            )
            patch.setitem(CASES, f"peft/{name}", case)
        yield


def fitted(config: dict[str, Any], steps: int | None = None) -> dict[str, Any]:
    values: dict[str, Any] = PeftBranch.fit_to_run({"config": config}, list, steps)["config"]
    return values


def by_peft(name: str, model: nn.Module, kind: str) -> nn.Module:
    """Return peft's tuner of a model, built without krona."""
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    torch.manual_seed(1)
    arguments = {**fitted(config(name)), "target_modules": TARGETS[kind].get(name, TARGETS[kind]["others"])}
    if name == "ia3":
        arguments["feedforward_modules"] = arguments["target_modules"][2:]
    made = peft.get_peft_config(arguments)
    with warnings.catch_warnings(action="ignore"):
        return PEFT_TYPE_TO_TUNER_MAPPING[made.peft_type](model, made, NAME)


@pytest.mark.parametrize("kind", ["bert", pytest.param("t5", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TYPES)
def test_thirty_steps_equal_a_plain_loop_with_peft(name: str, kind: str) -> None:
    ours, theirs = (without_dropout(tiny(kind)) for _ in range(2))
    if name != "psoft":  # which peft cannot insert into a model in fp64
        ours, theirs = ours.double(), theirs.double()
    inserted(f"peft/{name}", ours)
    tuner: Any = by_peft(name, theirs, kind)
    for key in ours.krona.trained:
        theirs.get_parameter(key).requires_grad_(True)
    for key, parameter in theirs.named_parameters():
        if "ranknum" in key:  # peft makes AdaLoRA's ranks trainable when it casts a layer
            parameter.requires_grad_(False)
    for model in (ours, theirs):
        model.double().train()
    hook = ours.krona.training_hook

    def our_loss(step: int) -> torch.Tensor:
        penalty = None if hook is None else hook.penalty(ours)
        return (output(ours, step) ** 2).mean() + (0 if penalty is None else penalty)

    def their_loss(step: int) -> torch.Tensor:
        has_term = type(tuner).forward is not peft.tuners.tuners_utils.BaseTuner.forward
        return (output(theirs, step) ** 2).mean() + (0.1 * orthogonality(theirs) if has_term else 0)

    check_losses(
        thirty_losses(ours, our_loss, lambda step: hook and hook.after_step(ours, step)),
        thirty_losses(theirs, their_loss, getattr(tuner, "update_and_allocate", None)),
    )


def thirty_losses(model: Any, loss: Callable[[int], torch.Tensor], after_step: Any = None) -> torch.Tensor:
    trained = [p for n, p in model.named_parameters() if p.requires_grad]
    optimizer, record = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.0), []
    for step in range(30):
        torch.manual_seed(step)  # PVeRA draws random numbers in training
        value = loss(step)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if after_step is not None:
            after_step(step)
        record.append(value.detach())
    return torch.stack(record)


def orthogonality(model: nn.Module) -> torch.Tensor:
    """Return the mean of ‖A Aᵀ - I‖ and ‖Bᵀ B - I‖ over the factors of AdaLoRA (Zhang et al. 2023, Eq. 4)."""
    factors = [p.T if "lora_B" in n else p for n, p in model.named_parameters() if "lora_A" in n or "lora_B" in n]
    return torch.stack([(A @ A.T - torch.eye(len(A), dtype=A.dtype)).norm() for A in factors]).mean()


@pytest.mark.parametrize("kind", ["bert", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("t5", "llama"))])
@pytest.mark.parametrize("name", TYPES)
def test_the_life_of_an_adapter_and_of_its_folder(name: str, kind: str, tmp_path: Path) -> None:
    merges = (name, kind) not in NOT_MERGED
    if name != "psoft":  # which peft cannot insert into a model in fp64
        assert check_life(f"peft/{name}", lambda: tiny(kind), tmp_path / "a.safetensors")[1] == merges
    model = inserted(f"peft/{name}", tiny(kind))
    train(model, steps=2)
    expected = evaluate(model)
    written = write_peft(model, tmp_path, base_model=None)
    assert written["peft_type"] == name.upper()
    with warnings.catch_warnings(action="ignore"):
        theirs: Any = peft.PeftModel.from_pretrained(tiny(kind), str(tmp_path)).eval()
    use_fast_modules(theirs)  # the same order of sums
    assert torch.equal(evaluate(theirs), expected)
    if merges:
        surgery.bake(model)
        assert [*model.state_dict()] == [*tiny(kind).state_dict()]
        torch.testing.assert_close(evaluate(model), expected, rtol=1e-5, atol=1e-5)  # fp32, other orders of sums


# OSF's hooks return gradients in bf16, and AdaMSS keeps the dtype of the insertion.
@pytest.mark.parametrize("name", [name for name in TYPES if name not in ("osf", "adamss")])
def test_frozen_weights_in_bf16(name: str) -> None:
    model = tiny("bert").bfloat16()
    for module in model.modules():
        module.float() if isinstance(module, nn.LayerNorm) else None
    inserted(f"peft/{name}", model)
    assert find_branch_fault(model) is None
    train_in_fp32(model)
    with torch.autocast("cpu", torch.bfloat16):
        (output(model) ** 2).mean().backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert {p.dtype for p in trained.values()} == {torch.float32}
    assert all(p.grad is not None and p.grad.isfinite().all() for n, p in trained.items() if "pooler" not in n)


SEEDED = ["adamss", "fourierft", "frod", "pvera", "randlora", "shira", "tinylora", "unilora", "vera", "waveft"]


@pytest.mark.parametrize("name", SEEDED)
def test_the_seed_decides_the_random_positions_and_the_frozen_factors(name: str) -> None:
    def output_with_equal_trained_weights(seed: int) -> torch.Tensor:
        model = tiny("t5")
        torch.manual_seed(seed)
        insert_method(model, settings(f"peft/{name}", config=config(name)))
        generator = torch.Generator().manual_seed(0)
        for parameter in surgery.trainable_state(model).values():
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
        return evaluate(model)

    first, second, again = map(output_with_equal_trained_weights, (1, 2, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, second)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_adalora_does_not_train_its_ranks(dtype: torch.dtype, tmp_path: Path) -> None:
    model = inserted("peft/adalora", tiny("bert").to(dtype))
    assert surgery.count(model) == surgery.count(inserted("peft/adalora", tiny("bert")))
    ranks = {name: tensor.clone() for name, tensor in adapter_state(model).items() if "ranknum" in name}
    assert ranks
    train(model, steps=2)
    assert all(torch.equal(adapter_state(model)[name], rank) for name, rank in ranks.items())
    write_peft(model, tmp_path, base_model=None)
    theirs = peft.PeftModel.from_pretrained(tiny("bert").to(dtype), str(tmp_path)).eval()
    torch.testing.assert_close(evaluate(theirs), evaluate(model))


def test_shares_of_the_steps() -> None:
    shares = {"peft_type": "ADALORA", "total_step": 1.0, "tinit": 0.1, "tfinal": 0.25, "beta1": 0.5}
    assert fitted(shares, 240) == {**shares, "total_step": 240, "tinit": 24, "tfinal": 60}
    assert fitted(shares, 0)["total_step"] == 1


def test_groups_of_rates_have_the_names_of_peft() -> None:
    groups = surgery.trainable_groups(inserted("peft/lora", tiny("bert")))
    assert {name: len(own) for name, own in groups.items()} == {"lora_A": 4, "lora_B": 4, "layer_norms": 10, "head": 2}


def method(**values: Any) -> Any:
    return check.method({**method_values("peft"), **values})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"config": {"peft_type": "OFTX"}}, "'OFTX' is not a type of peft: did you mean 'OFT'"),
        (
            {"config": {"peft_type": "OFT", "oft_blok": 4}},
            "Unknown key method.config.oft_blok: did you mean 'oft_block_",
        ),
        (
            {"config": {"peft_type": "CPT"}},
            "method.config.peft_type=CPT is not possible. krona does not support this type",
        ),
        ({"config": {"peft_type": "OFT", "target_modules": ["q"]}}, "Use method.target_modules"),
        ({"config": {"peft_type": "ADALORA", "tinit": 5}}, "method.config is not possible for ADALORA: "),
        ({"config": {"peft_type": "LORA", "init_lora_weights": "pissa"}}, "LORA with these arguments changes the back"),
    ],
)
def test_a_wrong_method_is_one_message(values: dict[str, Any], message: str) -> None:
    with pytest.raises(KronaError, match=re.escape(message)) as caught:
        insert_method(tiny("t5"), method(**values))
    assert "\n" not in str(caught.value)


def test_a_value_that_peft_changes_is_a_note() -> None:
    _, notes = insert_method(tiny("t5"), method(config={"peft_type": "OFT", "oft_block_size": 7}))
    assert len(notes) == 1
    assert notes[0].startswith("peft: ")


def test_an_interrupted_run_of_adalora_resumes_to_the_same_bits(small: list[str], tmp_path: Path) -> None:
    words = ["method=peft/adalora", "++method.config.init_r=3", "++method.config.target_r=1", *small]
    whole, _ = finish(tmp_path / "whole", *words)
    resumed, _ = finish_after_interrupt(2, tmp_path / "part", *words)
    assert same_files(resumed.folder, whole.folder)
    tensors = load_file(whole.folder / "adapter.safetensors")
    ranks = [int(tensor.count_nonzero()) for name, tensor in tensors.items() if "lora_E" in name]
    assert sum(ranks) < 3 * len(ranks)  # ranks were removed
    (result,) = (tmp_path / "part").glob("*/result.json")
    assert read_result(result).provenance["branch_config"]["config"]["total_step"] == 9
