"""Commands in a folder of somebody else: no module of the folder is imported unless a `_target_` names it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from krona.paths import PROJECT
from one_job import config, run, typed

# modules that torch, transformers, urllib3 and others import if they are there, and a plugin of Hydra
PLANTED = ("brotli", "flash_attn", "triton", "zstandard", "torch_xla", "google", "xformers", "hydra_plugins/evil")
CANARY = "import pathlib\npathlib.Path({log!r}).open('a').write(f'{{__name__}} ')\nraise ImportError('canary')\n"
ALL = """
import sys
from krona.cli.krona import main
for words in {commands!r}:
    sys.argv = ["krona", *words]
    try:
        main()
    except SystemExit as end:
        print(f"{{words[0]}} {{end.code}}", file=sys.stderr)
"""
# `krona` as a console script, whose own folder is no one's working directory
ONE = "import sys; sys.argv = ['krona', *sys.argv[1:]]; from krona.cli.krona import main; main()"
QUICK = ("doctor", "params", "table", "inspect", "train")  # these ran modules of the folder


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """The folder. What its modules ran as is in the file ``ran``."""
    folder = tmp_path / "strange"
    for name in PLANTED:
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(CANARY.format(log=str(tmp_path / "ran")))
    return folder


def commands(run_id: str, out: Path) -> list[list[str]]:
    small = ["profile=demo", "method=lora", "task=sample_rte"]
    return [
        ["doctor"],
        ["status"],
        ["report"],
        ["table", "1", "--dry-run", *small, "seed=0"],
        ["params", "method=lora"],
        ["shapes", "64", "64"],
        ["check-data", "sample_rte"],
        ["inspect", run_id],
        ["predict", run_id, "--text", "It rains.", "It is wet."],
        ["export", run_id, "--to", "adapter", "--out", str(out)],
        ["train", "--cfg", "job", *small],
    ]


def test_no_module_of_the_folder_runs(
    full: bool, strange: Path, tiny_folder: Path, tmp_path: Path, outputs: Path, book: Any
) -> None:
    values = config("method=lora", *typed(tiny_folder, tmp_path / "glue"), "trainer.max_epochs=1")
    job, said = run(values, outputs)
    assert job.state == "done", said
    every = commands(job.run_id, tmp_path / "export")
    if full:
        started = [["-c", ONE, *words] for words in every] + [["-m", "krona", *every[0]]]
        started += [[str(PROJECT / "train.py"), *every[-1][1:]]]
    else:
        chosen = [words for words in every if words[0] in QUICK]
        started = [["-c", ALL.format(commands=chosen)]]
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    environment |= {"KRONA_OUTPUTS": str(outputs), "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep}  # as a:$UNSET gives
    with book("a strange folder") as found:
        for words in started:
            safe = ["-P"] if words[0] == "-c" else []
            done = subprocess.run(
                [sys.executable, *safe, *words], cwd=strange, env=environment, capture_output=True, text=True,
                timeout=280, check=False,
            )  # fmt: skip
            ran = tmp_path / "ran"
            loss = f"ran {ran.read_text()}" if ran.exists() else done.stderr if "Traceback" in done.stderr else ""
            found.add(loss and f"{' '.join(words[-3:])}: {loss}")
            ran.unlink(missing_ok=True)
