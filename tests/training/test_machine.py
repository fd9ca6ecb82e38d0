"""Test the setting of the memory allocator, and the note on bf16."""

import subprocess
import sys
from pathlib import Path

import pytest

from krona.training import machine
from krona.training.machine import bf16_notes, keep_freed_memory

FAULTS = """
import resource, sys, torch
from krona.training.machine import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    print(-1); sys.exit()
torch.set_num_threads(1)
def step():
    blocks = [torch.ones(1_000_000) for _ in range(40)]
step(); step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5): step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.slow
def test_freed_memory_is_not_returned_to_the_kernel() -> None:
    kept = faults("keep")
    if kept < 0:
        pytest.skip("no glibc")
    assert faults("plain") > 10 * kept


def test_a_malloc_variable_of_the_user_and_other_systems_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MALLOC_ARENA_MAX", "2")
        assert not keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


def test_bf16_on_a_cpu_without_its_instructions_gives_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    assert bf16_notes("bf16-mixed", "cpu") == []  # no information
    (tmp_path / "cpuinfo").write_text("flags\t\t: avx2 avx512f\n")
    (note,) = bf16_notes("bf16-mixed", "cpu")
    assert "trainer.precision=bf16-mixed" in note
    assert "32-true" in note
    assert bf16_notes("bf16-frozen", "cpu")
    assert bf16_notes("32-true", "cpu") == bf16_notes("bf16-mixed", "cuda") == []
    (tmp_path / "cpuinfo").write_text("flags\t\t: avx2 avx512_bf16\n")
    assert bf16_notes("bf16-mixed", "cpu") == []
