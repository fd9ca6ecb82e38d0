"""Run a benchmark on a tiny model and return the content of its JSON file."""

import json
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

import tiny_models
from benchmarks import run as bench_run
from tiny_t5 import METHODS, method_values

VOCABULARY = 2048  # the size of nano's tokenizer
SIZES = {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4}


def compose(overrides: list[str]) -> dict[str, Any]:
    """Return the config values for some overrides, with a tiny model of the named architecture, or a tiny T5."""
    named = next((o.removeprefix("backbone=") for o in overrides if o.startswith("backbone=")), "t5_tiny")
    kind = named if named in tiny_models.SIZES else "t5"
    sizes = {**tiny_models.SIZES.get(kind, SIZES), "vocab_size": VOCABULARY}
    values: dict[str, Any] = {"backbone": {"name": f"org/{named}", "architecture": kind, "sizes": sizes}}
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "method":
            values["method"] = method_values(value)
        elif key.startswith("method."):
            values["method"][key.removeprefix("method.")] = yaml.safe_load(value)
    return values


def run(outputs: Path, *, console: Console | None = None, **config: Any) -> dict[str, Any]:
    """Run a benchmark without repeating disturbed rounds, check its files, and return the content of its JSON file."""
    whole = {"rounds": 1, "warm_up": 0, "minutes": 1.0, "load": "mark", "batch_size": 2, "length": 6, "peft": False}
    file = bench_run.run_bench(
        whole | {"options": {}} | config,
        compose=compose,
        methods=sorted({*METHODS, *(name for name in config.get("methods", ()) if name.startswith("peft/"))}),
        outputs=outputs,
        console=console or Console(quiet=True),
    )
    assert list((outputs / "bench").iterdir()) == [file]
    content: dict[str, Any] = json.loads(file.read_text())
    assert content.keys() == {"name", "rows", "machine", "backbones", "settings"}
    assert {"processor", "cores", "threads", "torch"} <= content["machine"].keys()
    common = {"name", "shape", "median_s", "spread", "ratio_to_full", "rounds", "disturbed_rounds"}
    assert all(common <= row.keys() for row in content["rows"])
    return content
