"""Test that commands in an untrusted folder import a module of this folder only if a `_target_` names it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from krona.paths import PROJECT
from one_job import config, run

# modules that torch, transformers, urllib3 and others import if they find them, and a plugin of Hydra
PLANTED = ("brotli", "flash_attn", "triton", "zstandard", "torch_xla", "google", "xformers", "hydra_plugins/evil")
CANARY = "import pathlib\npathlib.Path({log!r}).open('a').write(f'{{__name__}} ')\nraise ImportError('canary')\n"
# `krona` as a console script, whose own folder is not the working directory
KRONA = "import sys; sys.argv = ['krona', *sys.argv[1:]]; from krona.cli.krona import main; main()"


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """Return the untrusted folder. Its modules write their names to the file ``ran`` when they are imported."""
    folder = tmp_path / "strange"
    for name in PLANTED:
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(CANARY.format(log=str(tmp_path / "ran")))
    return folder


def commands(run_id: str, out: Path) -> list[list[str]]:
    small = ["profile=demo", "method=lora", "task=sample_rte"]
    return [
        ["params", "method=lora"],
        ["table", "1", "--dry-run", *small, "seed=0"],
        ["train", "--cfg", "job", *small],
        ["list"],
        ["report"],
        ["check-data", "sample_rte"],
        ["predict", run_id, "--text", "It rains.", "It is wet."],
        ["export", run_id, "--to", "merged", "--out", str(out)],
    ]


def test_no_module_of_the_folder_runs(
    slow_full: bool, strange: Path, small: list[str], tmp_path: Path, outputs: Path, book: Any
) -> None:
    values = config("method=lora", *small, "trainer.max_epochs=1")
    job, messages = run(values, outputs)
    assert job.state == "done", messages
    every = commands(job.run_id, tmp_path / "export")
    started = [["-P", "-c", KRONA, *words] for words in (every if slow_full else every[:4])]
    if slow_full:
        started += [["-m", "krona", "list"], [str(PROJECT / "train.py"), *every[3][1:]]]
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    environment |= {"KRONA_OUTPUTS": str(outputs), "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep}  # as a:$UNSET gives
    ran = tmp_path / "ran"
    with book("a strange folder") as found:
        for words in started:
            command = [sys.executable, *words]
            done = subprocess.run(command, cwd=strange, env=environment, capture_output=True, text=True, timeout=280)
            loss = f"ran {ran.read_text()}" if ran.exists() else done.stderr if "Traceback" in done.stderr else ""
            found.add(loss, " ".join(words[-3:]))
            ran.unlink(missing_ok=True)
