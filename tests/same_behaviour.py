"""Compare the same commands on two checkouts of the code: exit codes, text, run ids, weights and numbers.

    python tests/same_behaviour.py record CHECKOUT BEFORE.json
    python tests/same_behaviour.py compare BEFORE.json AFTER.json

The first command takes some minutes on one core and downloads nothing. The second command prints one line for each
recorded command, and exits with code 1 if any of them differs.

Each command runs in a temporary folder with the code of the checkout, even if another version is installed. The record
of a command consists of its exit code, its output and every file that it wrote or removed. Times, dates, memory, hosts
and commits are left out. In files that krona reads again, these values are overwritten after the command, so that
reports on these files can be compared to the last byte.
"""

import csv
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

SMALL = "trainer.max_epochs=1 optimizer.warmup_steps=1 batch_size=16 data.train_rows=64"
RTE, COLA = (f"profile=demo task=sample_{task} {SMALL}" for task in ("rte", "cola"))
INTERRUPTED = "train.py profile=demo task=sample_sst2 method=krona trainer.max_epochs=2 data.train_rows=640"
BENCH = (
    "bench.py bench=kronecker bench.rounds=1 bench.warm_up=0 bench.threads=1 bench.load=mark "
    "bench.options.shapes=[[32,24]] bench.options.more_shapes=1 bench.options.oblong_shapes=1 bench.options.rows=[16]"
)
COMMANDS = f"""
imports | docs/surgery.md
krona table 1 --dry-run | krona table 1 --dry-run profile=demo method=krona,pa
krona table 9 --dry-run --plan --json
train.py method=krona_b_res task=mnli --cfg job | train.py -m sweeps=table5 --cfg job
krona params | krona params --backbone t5_large --json method=krona,adapter | krona shapes 768 768 --json
train.py -m method=glob(*) {RTE}
train.py method=lora {RTE} | train.py method=lora {RTE} overwrite=true
{INTERRUPTED} | {INTERRUPTED} seed=0
train.py -m sweeps=seeds seed=0,1 method=lora {COLA}
train.py -m method=krona,pa {COLA} hydra/launcher=joblib hydra.launcher.n_jobs=1 sweep=pair
train.py -m method=lora {COLA} method.rank=0,2 seed=7
train.py method=lora {COLA} seed=5 trainer.devices=2
krona tune method=krona {RTE} --trials 2 | krona tune method=krona {RTE} --trials 2 --workers 2
train.py method=krona {RTE} recipe=tuned --cfg job
krona sample glue | krona check-data rte data=tsv data.path=glue | krona check-data sample_stsb profile=demo
train.py profile=demo method=lora task=rte data=tsv data.path=glue logger=[wandb,tensorboard,mlflow] {SMALL}
krona table 1 method=lora,krona {RTE} --format md
krona status | krona status seeds
krona report | krona report --format md | krona report --format latex | krona report --format csv
krona report --format html | krona report --format svg --where task=sample_rte
krona report --sweep seeds | krona report --where method=krona,lora --where task=sample_rte --format csv
krona diff lora-sample_cola-nano-s0 lora-sample_cola-nano-s1 --examples 20 | krona diff full lora
krona dashboard | {BENCH}
train.py --help | bench.py --help | krona --help | krona status --help | krona table --help | krona report --help
krona diff --help | krona params --help | krona shapes --help | krona tune --help | krona dashboard --help
krona check-data --help | krona sample --help | krona pretrain --help | krona doctor --help
train.py methd=krona | train.py method=kronaa | train.py method=full method.rank=3 | train.py optimizer.lr=abc
train.py profile=demo method.kron_factors=[[5,7]] | train.py profile=demo seed=0,1 | train.py -m sweeps=tabel1
train.py profile=demo method=pa recipe=tuned | train.py backbone=nano task=rte data=tsv data.path=nowhere
krona | krona statsu | krona status nothing | krona table 3 | krona table one | krona shapes 2 3
krona report --format pdf | krona report --table 11 | krona report --sweep nothing | krona diff nobody lora
krona params method=loar | krona pretrain model --data-path nowhere | krona dashboard --push
"""
IMPORTS = "import krona, hydra_plugins; print(*krona.__path__, *hydra_plugins.__path__)"
ONLY_THIS_CODE = """
import os, sys
sys.path[:] = [path for path in sys.path if path == {source!r} or not os.path.isdir(os.path.join(path, "krona"))]
"""  # hides an installed krona in each process, also in those that a command starts

VOLATILE = {
    "times", "time", "examples_per_s", "peak_memory", "memory", "versions", "host", "started", "finished",
    "id", "__id__",
}  # fmt: skip  # keys in JSON; the last two are W&B's
PATTERNS = [
    (r"[^\n]*(?:it/s\]|others (?:took|ran)|Matplotlib is building)[^\n]*\n?", ""),
    (r"\b[\d.,]+ (?:s|min|minutes|h)\b", "<time>"),
    (r"\b[\d.,]+ examples/s", "<rate>"),
    (r"peak memory [\d.,]+ MiB", "<memory>"),
    (r"\b\d{8}_\d{6}\b", "<date>"),
    (r"\bprocess \d+\b", "process <pid>"),
    (r"\b(C\d+_\d+_|m|p)[0-9a-f]{10}\b", r"\1<id>"),  # ids of Matplotlib in an SVG
]
NO_COMMANDS_WORK = re.compile(r"site/|hub/|outputs/(\.cache|wandb|mlflow|tensorboard)/")
TIMED = re.compile(r".*\.(db|ckpt)|outputs/bench/.*")  # only the existence of these files is compared
TEXT = re.compile(r".*\.(json|csv|log|html|svg|md|yaml|txt)|.*/tracked\.jsonl")  # other files are compared by a hash
Stamps = dict[str, tuple[int, int]]  # file → size and time of change


def record(checkout: Path) -> dict[str, dict[str, Any]]:
    """Run all commands on a checkout.

    Return a dict from each command to its exit code, its output and its changed files.
    """
    found: dict[str, dict[str, Any]] = {}
    before: Stamps = {}
    with tempfile.TemporaryDirectory(prefix="krona-") as made:
        work = Path(made).resolve()
        (work / "site").mkdir()
        (work / "site" / "sitecustomize.py").write_text(ONLY_THIS_CODE.format(source=str(checkout / "src")))
        for command in re.split(r" \| |\n", COMMANDS.strip()):
            began = time.monotonic()
            code, *said = run(arguments(command, checkout), work, checkout, interrupt=command == INTERRUPTED)
            out, err = (steady(text, work, checkout) for text in said)
            if command == "imports" and (code or re.sub(r"<checkout>/src/\w+|\s", "", out)):
                raise SystemExit(f"not the code of {checkout}: {out}{err}")
            if command == BENCH:
                out = " ".join(re.findall(r"[a-z]\w*", re.sub(r"│ (\S+).*", r"\1", out)))  # the names of the rows
            after = stamps(work)
            changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
            files = {name: content(work / name, work, checkout) for name in changed}
            before = stamps(work)
            found[command] = {"exit code": code, "stdout": out, "stderr": err, **files}
            print(f"{time.monotonic() - began:5.1f} s  exit code {code}  {command}", flush=True)
    return found


def arguments(command: str, checkout: Path) -> list[str]:
    """Return the arguments of Python that run a command."""
    program, *typed = command.split(" ")
    if program == "imports":
        return ["-c", IMPORTS]
    if program.endswith(".md"):
        return ["-c", "\n".join(re.findall(r"```python\n(.*?)```", (checkout / program).read_text(), flags=re.DOTALL))]
    if program.endswith(".py"):
        return [str(checkout / program), *typed]
    scripts = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts[program].split(":")
    return ["-c", f"import sys; from {module} import {function}; sys.argv[0] = {program!r}; {function}()", *typed]


def run(arguments: list[str], work: Path, checkout: Path, *, interrupt: bool) -> tuple[int, str, str]:
    """Run Python, and return the exit code, stdout and stderr.

    With ``interrupt``, send Ctrl-C after the first epoch.
    """
    environment = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{work / 'site'}:{checkout / 'src'}",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",  # another number of threads would change the order of sums
        "CUDA_VISIBLE_DEVICES": "",
        "GIT_DIR": str(work / "none"),  # no commit in results and reports
        "KRONA_OUTPUTS": str(work / "outputs"),
        "HF_HOME": str(work / "hub"),
        "HF_ENDPOINT": "http://127.0.0.1:9",  # no server is at this address
    }
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=work, env=environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    said = ""
    if interrupt and process.stdout is not None:
        for line in process.stdout:
            said += line
            if "epoch  1/" in line:
                break
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    return process.returncode, said + out, err


def steady(text: str, work: Path, checkout: Path) -> str:
    """Return the text without values that change between calls, such as times.

    If it has a time, table alignment is removed too.
    """
    text = text.replace(str(work), "<work>").replace(str(checkout), "<checkout>")
    for pattern, instead in PATTERNS:
        text = re.sub(pattern, instead, text)
    return re.sub(r"─+", "─", re.sub(r" +", " ", text)) if "<time>" in text else text


def stamps(work: Path) -> Stamps:
    """Return a dict from each file that commands write to its size and time of change."""
    files = {str(path.relative_to(work)): path.stat() for path in work.rglob("*") if path.is_file()}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in files.items() if not NO_COMMANDS_WORK.match(name)}


def content(path: Path, work: Path, checkout: Path) -> str:
    """Return the content of a file for the comparison.

    Files that krona reads again are also overwritten without changing values.
    """
    if not path.exists():
        return "removed"
    if TIMED.fullmatch(str(path.relative_to(work))):
        return "there"
    if path.suffix == ".json":
        path.write_text(json.dumps(settled(json.loads(path.read_text())), indent=1, ensure_ascii=False) + "\n")
    elif path.name == "tracked.jsonl":
        lines = path.read_text().splitlines()
        path.write_text("".join(json.dumps(settled(json.loads(line))) + "\n" for line in lines))
    elif path.name == "metrics.csv":
        rows = settled(list(csv.DictReader(io.StringIO(path.read_text()))))
        path.write_text("".join(",".join(row) + "\n" for row in (rows[0], *(row.values() for row in rows))))
    if TEXT.fullmatch(str(path)):
        return steady(path.read_text(), work, checkout)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def settled(value: Any, *, volatile: bool = False) -> Any:
    """Return a JSON value in which all volatile dates, numbers and words are replaced by constants."""
    if isinstance(value, dict):
        return {k: settled(v, volatile=volatile or not VOLATILE.isdisjoint(k.split("/"))) for k, v in value.items()}
    if isinstance(value, list):
        return [settled(item, volatile=volatile) for item in value]
    if not volatile or value is None:
        return value
    return "2000-01-01T00:00:00+00:00" if isinstance(value, str) else type(value)(1)


def compare(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> int:
    """Print one line for each command, and its differences below. Return the number of commands that differ."""
    differing = 0
    for command in before | after:
        a, b = before.get(command, {}), after.get(command, {})
        lines = [f"    {name}: {parting(a.get(name), b.get(name))}" for name in a | b if a.get(name) != b.get(name)]
        differing += bool(lines)
        print("\n".join([f"{'DIFFERS' if lines else 'equal'}  {command}", *lines]))
    print(f"{len(before | after)} commands, {differing} differ")
    return differing


def parting(a: Any, b: Any) -> str:
    """Return a text with both values, from shortly before the first difference."""
    a, b = str(a), str(b)
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return " became ".join(repr(text[max(0, at - 40) : at + 60]) for text in (a, b))


if __name__ == "__main__":
    action, first, second = sys.argv[1:]
    if action == "record":
        Path(second).write_text(json.dumps(record(Path(first).resolve()), indent=1, ensure_ascii=False))
    else:
        sys.exit(compare(*(json.loads(Path(path).read_text()) for path in (first, second))) > 0)
