"""Test the directions of updates relative to the backbone's weights: shares and intruder dimensions."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import one_job
from krona import surgery
from krona.adapters.commands.directions import ALIKE, TOP, _updates, compare, directions
from krona.cli.krona import app
from krona.messages import KronaError
from tiny_t5 import disturb, inserted, tiny_t5


def test_shares_and_intruders_of_made_updates() -> None:
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(64, 48, generator=generator)
    U, _, Vh = torch.linalg.svd(W, full_matrices=False)
    top = compare(W, 0.1 * torch.outer(U[:, 3], Vh[5]))
    assert (top.k, top.intruders) == (TOP, 0)
    assert top.share == pytest.approx(1, abs=1e-4)
    assert top.share_by_chance == pytest.approx(TOP**2 / (64 * 48))
    assert compare(W, torch.outer(U[:, TOP], Vh[TOP])).share == pytest.approx(0, abs=1e-4)
    new = torch.linalg.qr(torch.randn(64, 64, generator=generator)).Q[:, :2]
    Q = new - U @ (U.T @ new)  # orthogonal to the range of W
    assert compare(W, 1000 * Q @ torch.randn(2, 48, generator=generator)).intruders == 2
    assert compare(W, torch.zeros_like(W)).share is None
    assert 0 < ALIKE < 1


@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "full"])
def test_an_update_is_the_tuned_weight_minus_the_original(method: str) -> None:
    model = inserted(method)
    disturb(model)
    found = {name: (W.clone(), D.clone()) for name, W, D in _updates(model)}
    plain: Any = tiny_t5()
    merged = surgery.bake(model)
    tuned = dict((merged or model).named_parameters())
    assert found
    for name, (W, D) in found.items():
        torch.testing.assert_close(W, plain.get_submodule(name).weight)
        torch.testing.assert_close(W + D, tuned[f"{name}.weight"], rtol=1e-4, atol=1e-5)


def test_the_command_on_a_run_that_kept_the_whole_model(tiny_folder: Path, tmp_path: Path) -> None:
    typed = [*one_job.typed(tiny_folder, tmp_path / "rte"), "trainer.max_epochs=1"]
    job, said = one_job.run(one_job.config(*typed, "method=full", "keep=all"), tmp_path / "outputs")
    assert job.state == "done", said
    command = ["inspect", str(job.folder), "--backbone-directions"]
    text = CliRunner().invoke(app, command).stdout
    assert f"share in top {TOP}" in text
    assert "encoder SelfAttention q" in text
    content = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert len(content["directions"]) == 2 * (4 + 2) + 2 * (8 + 2)
    job, _ = one_job.run(one_job.config(*typed, "method=bitfit"), tmp_path / "outputs")
    with pytest.raises(KronaError, match="no update is a matrix"):
        directions(job.folder)
