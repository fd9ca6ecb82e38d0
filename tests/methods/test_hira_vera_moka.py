"""HiRA, VeRA, MoKA and CDKA's published values: counts, formulas, and peft's outputs on every architecture in fp64."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tiny_models
from krona import surgery
from krona.adapters.adapter import Adapter
from krona.messages import KronaError
from krona.methods.hira import HiRA
from krona.methods.moka import MoKA
from krona.methods.vera import VeRA
from krona.surgery.state import adapted_modules
from krona.surgery.wrapper import public_name
from tiny_models import NAMES, tiny
from tiny_t5 import disturb, inserted, logits, method_values, settings, tiny_t5

SHAPES = [[2, 384], [3, 256], [12, 64], [24, 32], [32, 24], [48, 16], [192, 4]]  # Table 9


@pytest.mark.parametrize(
    ("method", "expected"), [("hira", 1536), ("vera", 256 + 768), ("moka", 7 * 1536 + 7), ("cdka_authors", 13056)]
)
def test_parameters_of_one_layer_of_t5_base(method: str, expected: int) -> None:
    checked = settings(method)
    assert checked.branch is not None
    package, _, name = checked.branch.rpartition(".")
    branch = getattr(__import__(package, fromlist=[name]), name)(768, 768, **checked.branch_config)
    assert sum(p.numel() for p in branch.parameters()) == expected


@pytest.mark.filterwarnings("ignore")  # of peft about the models' kinds
@pytest.mark.parametrize("kind", ["t5", *NAMES])
@pytest.mark.parametrize("method", ["hira", "vera"])
def test_outputs_are_pefts_on_every_architecture(method: str, kind: str) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed: the comparison with it is left out")
    ours = (tiny_t5() if kind == "t5" else tiny(kind)).double()
    bare = copy.deepcopy(ours)
    insert(ours, method)
    disturb(ours)
    places = {public_name(path): place.branches["default"][0] for path, place in adapted_modules(ours)}
    transposed = type(bare.get_submodule(next(iter(places)))).__name__ == "Conv1D"
    arguments = {"target_modules": list(places), "fan_in_fan_out": transposed}
    if method == "hira":
        theirs = peft.get_peft_model(bare, peft.HiraConfig(r=2, **arguments))
    else:
        theirs = peft.get_peft_model(bare, peft.VeraConfig(r=3, **arguments))
    with torch.no_grad():
        for label, branch in places.items():
            layer: Any = theirs.get_submodule(f"base_model.model.{label}")
            if method == "hira":
                layer.hira_A["default"].data = branch.A.T.clone()
                layer.hira_B["default"].data = branch.B.T.clone()
            else:
                layer.vera_lambda_d["default"].data = branch.d.clone()
                layer.vera_lambda_b["default"].data = branch.b.clone()
        if method == "vera":  # peft cuts a layer's rows from the largest B
            layer.vera_A["default"], layer.vera_B["default"] = branch.A, max((b.B for b in places.values()), key=len)
    read = logits if kind == "t5" else tiny_models.output
    with torch.no_grad():
        expected, actual = read(theirs.eval()), read(ours)
    assert (actual - expected).abs().max() <= 1e-12 * expected.abs().max()


def insert(model: nn.Module, method: str) -> None:
    """Insert a method of rank 2 or 3 without LayerNorms; a new head stays as it is."""
    from krona.backbones.with_method import insert_method

    rank = {"hira": 2, "vera": 3}[method]
    insert_method(model, settings(method, rank=rank, train_layer_norms=False), counterparts={})
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".branches." in name)


def test_hiras_update_has_the_rank_of_the_layer() -> None:
    layer = nn.Linear(24, 16, bias=False).double()
    branch = HiRA(24, 16, rank=1).double()
    branch.bind(layer)
    with pytest.raises(KronaError, match="backbone"):
        HiRA(24, 16).delta()
    nn.init.normal_(branch.B)
    expected = layer.weight * (branch.A @ branch.B).T
    assert torch.equal(branch.delta(), expected)
    assert torch.linalg.matrix_rank(expected) == 16
    x = torch.randn(3, 24, dtype=torch.float64)
    torch.testing.assert_close(branch.beside(layer, x), layer(x) + branch(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "changes", [{"placement": "sequential"}, {"target_modules": ["DenseReluDense"], "placement": "parallel"}]
)
def test_hira_needs_a_linear_layer_beside_it(changes: dict[str, Any]) -> None:
    model = tiny_t5()
    with pytest.raises(KronaError, match="HiRA"):
        inserted("hira", model, **changes)
    assert not any(isinstance(module, surgery.Adapted) for module in model.modules())


def test_vera_stores_its_seed_and_not_its_factors(tmp_path: Path) -> None:
    model = inserted("vera", train_layer_norms=False, rank=8)
    disturb(model)
    file = tmp_path / "adapter.safetensors"
    Adapter.of(model).save(file)
    assert {key.rpartition(".")[2] for key in load_file(file)} == {"b", "d"}
    other = tiny_t5()
    Adapter.load(file).insert(other)
    assert torch.equal(logits(other), logits(model))
    assert not torch.equal(VeRA(8, 8, rank=2, seed=1).A, VeRA(8, 8, rank=2, seed=0).A)
    assert VeRA(8, 8, rank=2).A is VeRA(8, 8, rank=2).A


def test_moka_is_a_weighted_sum_of_kronecker_products() -> None:
    branch = MoKA(768, 768, shapes=SHAPES, scaling=2.0).double()
    assert torch.equal(branch.gates.softmax(0), torch.full((7,), 1 / 7, dtype=torch.float64))
    for parameter in branch.parameters():
        nn.init.normal_(parameter)
    gates = np.exp(branch.gates.detach().numpy())
    factors = zip(gates / gates.sum(), branch.A, branch.B, strict=True)
    expected = 2 * sum(w * np.kron(A.detach().numpy(), B.detach().numpy()) for w, A, B in factors)
    x = torch.randn(4, 768, dtype=torch.float64)
    np.testing.assert_allclose(branch(x).detach().numpy(), x.numpy() @ expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(branch.delta().detach().numpy(), expected.T, rtol=1e-12, atol=1e-12)


def test_mokas_shapes_are_fitted_or_refused() -> None:
    assert method_values("moka")["shapes"] == SHAPES
    fitted = MoKA(384, 384, shapes=SHAPES, fit="nearest")
    assert [list(A.shape) for A in fitted.A] == [[2, 192], [12, 64], [24, 32], [32, 24], [48, 16], [192, 4]]
    with pytest.raises(KronaError, match="384"):
        MoKA(384, 384, shapes=SHAPES)
    for wrong in ([], "32x24", [[32]], [[0, 3]]):
        with pytest.raises(KronaError, match=r"shapes|kron_factors"):
            MoKA(384, 384, shapes=wrong, fit="nearest")
