"""Test ``trainer.compile``: one graph for every method on each family, equal loss and gradients, and a run."""

import logging
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

import one_job
import tiny_backbones
from krona.backbones.insert_method import insert_method
from krona.config import check
from krona.messages import KronaError
from krona.training import learner
from krona.training.learner import compile_loss
from tiny_backbones import write_backbone
from tiny_models import family_batch, family_for, tiny_of
from tiny_t5 import METHODS, close, prepared, settings, tiny_t5, without_dropout

KINDS = ("t5", "bert", "llama")
CHANGES: dict[str, dict[str, Any]] = {"compacter": {"bottleneck_dim": 8}}
RTOL = 1e-6  # the model is in fp64, but the loss is summed in fp32
inductor = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # a warning of torch itself, 2.13


@pytest.fixture(autouse=True)
def no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable torch's log of each compilation, because pytest stores it, which takes a quarter of the time."""
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)


def model_of(kind: str) -> Any:
    """Return a model with one block in each stack. Its dropout is off: compiled and eager code draw different masks."""
    model = tiny_t5(num_layers=1) if kind == "t5" else tiny_of(kind, num_hidden_layers=1)
    return without_dropout(model).double().train()


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Set a backend that runs graphs unchanged. Return a list that gets one entry for each compiled graph."""
    graphs: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(len(inputs))
        return graph.forward

    monkeypatch.setattr(learner, "BACKEND", backend)
    return graphs


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        pytest.param(method, kind, marks=() if (method, kind) == ("krona", "t5") else pytest.mark.slow)
        for method in METHODS
        for kind in KINDS
    ],
)
def test_one_graph_for_all_lengths_with_the_same_loss_and_gradients(
    method: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs, model = counted(monkeypatch), model_of(kind)
    insert_method(model, settings(method, **CHANGES.get(method, {})))
    prepared(model)
    loss = family_for(model).summed_loss
    step = compile_loss(loss)
    for rows, length, tokens in ((3, 7, 4), (4, 40, 3), (30, 90, 5)):
        one = family_batch(model, rows, length, tokens)
        torch.testing.assert_close(step(model, one), loss(model, one), rtol=RTOL, atol=0)
    assert len(graphs) == 1
    trained = [p for p in model.parameters() if p.requires_grad]
    if trained:
        ours, eager = (torch.autograd.grad(f(model, one), trained, allow_unused=True) for f in (step, loss))
        for a, b in zip(ours, eager, strict=True):
            assert (a is b is None) or close(a, b, RTOL)


def test_a_failing_compiler_gives_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "BACKEND", Mock(side_effect=OSError("no g++")))
    model = model_of("bert")
    step = compile_loss(family_for(model).summed_loss)
    with pytest.raises(KronaError, match=r"trainer\.compile=true, .*no g\+\+.*C\+\+ compiler.*trainer\.compile=false"):
        step(model, family_batch(model, 3, 7, 1))


def test_recomputed_blocks_are_not_compiled() -> None:
    values = one_job.config("method=krona", "trainer.compile=true", "trainer.gradient_checkpointing=true")
    with pytest.raises(
        KronaError, match=r"trainer\.compile=true cannot be used with trainer\.gradient_checkpointing=true"
    ):
        check.settings(values)


@pytest.mark.slow
@inductor
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_with_the_compiling_backend_has_the_same_scores(kind: str, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"bert": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}}.get(kind, {})
    if kind == "t5":
        folder = write_backbone(tmp_path / kind, dropout_rate=0.0)
    else:
        folder = tiny_backbones.write(tmp_path / kind, kind, **sizes)
    typed = one_job.typed(folder, tmp_path / "rte")
    results = []
    for value in ("false", "true"):
        job, _ = one_job.finish(tmp_path / "outputs", *typed, f"trainer.compile={value}")
        results.append(job.result)
    losses = [[epoch["loss"] for epoch in one.dev_curve] for one in results]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert results[1].dev["score"] == results[0].dev["score"]
