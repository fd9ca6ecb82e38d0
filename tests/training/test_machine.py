"""The allocator's setting: taken where there is a glibc, and left alone where someone has set it already."""

import subprocess
import sys

import pytest

from krona.training.machine import keep_freed_memory

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


def test_a_step_s_memory_is_asked_for_once() -> None:
    kept = faults("keep")
    if kept < 0:
        pytest.skip("no glibc")
    assert faults("plain") > 10 * kept


def test_a_setting_of_the_user_s_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert not keep_freed_memory()


def test_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
