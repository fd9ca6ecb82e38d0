"""Test the setting of the memory allocator, the peak memory of several runs in a process, and the note on bf16."""

import sys
from pathlib import Path

import pytest
import torch

from krona.training import devices
from krona.training.devices import bf16_notes, default_threads, keep_freed_memory
from one_job import config, run, typed
from tiny_backbones import write_backbone


def test_a_malloc_variable_of_the_user_and_other_systems_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MALLOC_ARENA_MAX", "2")
        assert not keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


def test_the_number_of_threads_before_the_first_run_is_remembered() -> None:
    before = default_threads()
    torch.set_num_threads(before + 1)
    try:
        assert default_threads() == before
    finally:
        torch.set_num_threads(before)


def test_bf16_on_a_cpu_without_its_instructions_gives_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "cpuinfo")
    assert bf16_notes("bf16-mixed", "cpu") == []  # no information
    (tmp_path / "cpuinfo").write_text("flags\t\t: avx2 avx512f\n")
    (note,) = bf16_notes("bf16-mixed", "cpu")
    assert "trainer.precision=bf16-mixed" in note
    assert "32-true" in note
    assert bf16_notes("bf16-frozen", "cpu")
    assert bf16_notes("32-true", "cpu") == bf16_notes("bf16-mixed", "cuda") == []
    (tmp_path / "cpuinfo").write_text("flags\t\t: avx2 avx512_bf16\n")
    assert bf16_notes("bf16-mixed", "cpu") == []


@pytest.mark.slow
def test_the_peak_memory_does_not_depend_on_earlier_runs_of_the_process(tmp_path: Path) -> None:
    wide = write_backbone(tmp_path / "wide", d_model=512, d_ff=4096, d_kv=64)  # about 80 MB of weights
    small = [*typed(wide, tmp_path / "glue"), "task=rte", "trainer.max_steps=1", "score_test=false"]
    peaks: dict[str, list[float]] = {"full": [], "layer_norm": []}
    for order in (["full", "layer_norm"], ["layer_norm", "full"]):
        for method in order:
            job, said = run(config(*small, f"method={method}"), tmp_path / "-".join(order), multirun=True)
            assert job.result is not None, said
            peaks[method].append(job.result.peak_memory["host"])
    assert min(peaks["full"]) > 1.1 * max(peaks["layer_norm"])
    for values in peaks.values():
        assert values[0] == pytest.approx(values[1], rel=0.03)
