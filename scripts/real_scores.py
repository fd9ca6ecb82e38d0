"""Compare the methods on real GLUE data with pretrained encoders: choose learning rates on dev, then train three seeds.

    python scripts/real_scores.py GLUE_FOLDER WEIGHTS_FOLDER                # all blocks, in order of priority
    python scripts/real_scores.py GLUE_FOLDER WEIGHTS_FOLDER mpnet_cola     # one block

Each method tries two to five learning rates (`BLOCKS`) with seed 0. Seeds 1 and 2 use the rate with the best dev score.
The comparisons are fixed before a run: all pairs of methods of a block, without those of `EXCLUDED` in
docs/site/encoder_scores.py.
After an interruption, run the same command again: finished runs are not repeated.
`conf/experiment/real_scores.yaml` describes the protocol. The finished runs of each block, with their predictions, are
written to docs/results/real-scores-BLOCK.json. `python docs/site/pages.py` computes the tables of docs/claims.md from
these files.
"""

import argparse
import base64
import json
import re
import shutil
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

import krona
from krona import paths
from krona.runs.folder import RunFolder
from krona.runs.predictions import read_rows

ROOT = Path(__file__).resolve().parent.parent
NO_NORMS = "method.train_layer_norms=false"
SQUARE, FLAT = "square", "flat"  # two shapes of KronA's factors; `Block.shapes` contains their sizes for a backbone
METHODS = {  # from the label of a method to its overrides
    "lora": "method=lora",
    "krona": f"method=krona {SQUARE}",
    "krona_only": f"method=krona {SQUARE} {NO_NORMS}",
    "lora_only": f"method=lora {NO_NORMS}",
    "layer_norm": "method=layer_norm",
    "krona_b": "method=krona_b",
    "full": "method=full",  # the slowest
    "krona_flat": f"method=krona {FLAT}",
    "untuned": "method=untuned",
    "bitfit": "method=bitfit",
    "adapter": "method=adapter",
    "pa": "method=pa",
    "compacter": "method=compacter",
    "krona_b_res": "method=krona_b_res",
    "pa_only": f"method=pa {NO_NORMS}",
    "krona_b_only": f"method=krona_b {NO_NORMS}",
}
FEW = tuple(METHODS)[:7]
NARROW_SHAPES = ((2, 192), (3, 128), (12, 32), (16, 24), (24, 16), (48, 8), (96, 4))  # of A, for layers of 384 × 384
UPDATES = {  # updates with as many parameters as LoRA of rank 1, and ranks from 1 to the width of the layer
    **{
        f"rank_{file.stem}": f"variant=rank_at_budget/{file.stem} {NO_NORMS}"
        for file in sorted((ROOT / "conf" / "variant" / "rank_at_budget").glob("*.yaml"))
    },
    **{
        f"rank_krona_{a1}x{a2}": f"method=krona method.kron_factors=[[{a1},{a2}]] {NO_NORMS}"
        for a1, a2 in NARROW_SHAPES
    },
}
WIDE_SHAPES = tuple(label for label in UPDATES if "variant=rank_at_budget/krona_" in UPDATES[label])  # 768 × 768
OTHERS = "other methods"
HALF = "mpnet_half"  # the folder of the weights that `halve` writes


@dataclass(frozen=True)
class Block:
    """A part of the comparison: the runs of several methods on one task with one backbone."""

    backbone: str
    task: str
    typed: str
    rates: dict[str, str]  # from the label of a method to the learning rates to try, or `OTHERS`
    shapes: dict[str, str]
    methods: tuple[str, ...] = tuple(METHODS)
    weights: str = ""  # the folder of the weights, if it does not have the backbone's name

    def overrides(self, label: str) -> list[str]:
        return [self.shapes.get(word, word) for word in (METHODS | UPDATES)[label].split()]

    def rates_of(self, label: str) -> str:
        """Return the rates to try. Without rates of its own, `NAME_only` tries those of `NAME`."""
        own = label if label in self.rates else label.removesuffix("_only")
        return self.rates.get(own, self.rates[OTHERS])


WIDE = {SQUARE: "method.kron_factors=[[32,24]]", FLAT: "method.kron_factors=[[2,384]]"}  # for layers of 768 × 768
NARROW = {SQUARE: "method.kron_factors=[[16,24]]", FLAT: "method.kron_factors=[[2,192]]"}  # for layers of 384 × 384
BF16 = "trainer.precision=bf16-mixed"  # faster on a processor with AMX
BLOCKS = {  # in order of priority
    "mpnet_cola": Block(
        "mpnet_base",
        "cola",
        "trainer.max_epochs=1",
        {
            OTHERS: "5e-4,1e-3,3e-3",
            "full": "2e-5,5e-5,1e-4",
            "lora_only": "1e-3,3e-3,1e-2",
            "krona_only": "5e-4,1e-3,3e-3,1e-2",
            "krona_b": "2e-4,5e-4,1e-3,3e-3",
            "krona_b_only": "2e-4,5e-4",
        },
        WIDE,
        (*FEW, "krona_b_only"),
    ),
    "minilm_cola": Block(
        "minilm_l6",
        "cola",
        "trainer.max_epochs=3",
        {OTHERS: "1e-3,3e-3,1e-2", "full": "5e-5,1e-4", "krona_b": "5e-5,1e-4,2e-4,5e-4,1e-3"},
        NARROW,
    ),
    "minilm_rte": Block(
        "minilm_l6",
        "rte",
        f"trainer.max_epochs=5 {BF16}",
        {OTHERS: "3e-3,1e-2", "full": "5e-5,1e-4", "krona_b": "2e-4,1e-3"},
        NARROW,
    ),
    "minilm_sst2": Block(
        "minilm_l6",
        "sst2",
        f"trainer.max_epochs=2 data.train_rows=16000 {BF16}",
        {OTHERS: "3e-3,1e-2", "full": "5e-5,1e-4", "krona_b": "2e-4,1e-3"},
        NARROW,
    ),
    "mpnet_rte": Block(
        "mpnet_base", "rte", "trainer.max_epochs=3", {OTHERS: "5e-4,1e-3", "full": "2e-5,5e-5"}, WIDE, FEW
    ),
    "minilm_ranks": Block(
        "minilm_l6",
        "sst2",
        f"trainer.max_epochs=2 data.train_rows=3000 {BF16}",
        {OTHERS: "1e-3,3e-3,1e-2,3e-2"},
        {},
        ("untuned", *(label for label in UPDATES if label not in WIDE_SHAPES)),
    ),
    "mpnet_ranks": Block(
        "mpnet_base",
        "cola",
        f"trainer.max_epochs=1 {BF16}",
        {OTHERS: "1e-3,3e-3,1e-2"},
        {},
        ("rank_krona_2x384", "rank_monarch_64", "rank_lora", "rank_krona_32x24", "rank_monarch_4", "rank_c3a"),
    ),
    "minilm_cola_ranks": Block(
        "minilm_l6",
        "cola",
        f"trainer.max_epochs=3 {BF16}",
        {OTHERS: "1e-3,3e-3,1e-2"},
        {},
        ("rank_krona_2x192", "rank_monarch_64", "rank_lora", "rank_krona_16x24", "rank_monarch_4", "rank_c3a"),
    ),
    # four blocks to find out why full fine-tuning of MiniLM scores below published numbers on CoLA and RTE
    "minilm_cola_long": Block("minilm_l6", "cola", "trainer.max_epochs=10", {OTHERS: "1e-4"}, NARROW, ("full",)),
    "minilm_rte_long": Block(
        "minilm_l6", "rte", f"trainer.max_epochs=10 {BF16}", {OTHERS: "5e-5,1e-4"}, NARROW, ("full",)
    ),
    "mpnet_cola_long": Block("mpnet_base", "cola", f"trainer.max_epochs=4 {BF16}", {OTHERS: "5e-5"}, WIDE, ("full",)),
    "mpnet_cola_half": Block(
        "local", "cola", f"trainer.max_epochs=4 {BF16}", {OTHERS: "5e-5,1e-4"}, WIDE, ("full",), weights=HALF
    ),
}


def train(*typed: str) -> None:
    """Run ``train.py -m`` with these arguments, and show its output."""
    print(f"\n$ python train.py -m {' '.join(typed)}", flush=True)
    subprocess.run([sys.executable, str(ROOT / "train.py"), "-m", *typed], check=True)


def halve(source: Path, target: Path) -> None:
    """Copy a checkpoint, but keep only every second layer of its encoder: the second, the fourth, and so on."""
    shutil.copytree(source, target)
    tensors = {}
    for name, value in load_file(source / "model.safetensors").items():
        layer = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", name)
        if layer is None:
            tensors[name] = value
        elif int(layer[1]) % 2:
            tensors[f"encoder.layer.{int(layer[1]) // 2}.{layer[2]}"] = value
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config["num_hidden_layers"] //= 2
    (target / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def best_rate(sweep: str) -> float:
    """Return the learning rate of the run with the highest dev score in a sweep.

    If several runs have this score, return the lowest of their learning rates.
    """
    results = krona.results()
    trials = results[(results["sweep"] == sweep) & (results["status"] == "done")]
    return float(trials.sort_values(["dev", "lr"], ascending=[False, True]).iloc[0]["lr"])


def collect(name: str, block: Block) -> None:
    """Write the scores and predictions of a block's finished runs to docs/results/real-scores-NAME.json."""
    results = krona.results()
    rows = []
    for label in block.methods:
        sweeps = [f"real_{name}_{label}_rates", f"real_{name}_{label}"]
        done = results[results["sweep"].isin(sweeps) & (results["status"] == "done")]
        rows += [describe_run(label, run_id) for run_id in done.sort_values(["lr", "seed"])["run_id"]]
    file = ROOT / "docs" / "results" / f"real-scores-{name}.json"
    file.write_text(json.dumps({"runs": rows}, indent=1) + "\n", encoding="utf-8")


def describe_run(label: str, run_id: str) -> dict[str, Any]:
    result = RunFolder(paths.OUTPUTS / run_id).read()
    assert result.dev, run_id  # a finished run has both scores
    assert result.test, run_id
    learned = result.learned or {}
    return {
        "run": run_id,
        "label": label,
        "backbone": result.config["backbone"]["name"],
        "task": result.task,
        "lr": result.config["optimizer"]["lr"],
        "seed": result.seed,
        "train_rows": result.splits["train"]["rows"],
        "epochs": result.epochs,
        "trainable": result.trainable_params,
        "head": result.head_params,
        "rank": result.provenance["update_rank"],
        "update": {key: learned.get(key) for key in ("norm", "effective_rank", "stable_rank")},
        "train_seconds": round(result.times["train"]),
        "commit": str(result.provenance["git_commit"])[:10],
        "dev": {"score": result.dev["score"], "outcomes": pack_outcomes(run_id, "dev")},
        "test": {"score": result.test["score"], "outcomes": pack_outcomes(run_id, "test")},
    }


def pack_outcomes(run_id: str, split: str) -> dict[str, str]:
    """Return the targets and predictions of a split, each as a text with a line per row, compressed and in base64."""
    rows = read_rows(RunFolder(paths.OUTPUTS / run_id).predictions, "split", "target", "prediction")
    packed = {}
    for name, column in (("targets", "target"), ("predictions", "prediction")):
        values = [text for text, part in zip(rows[column], rows["split"], strict=True) if part == split]
        text = "\n".join(value.replace("\n", " ") for value in values)
        packed[name] = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    return packed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("glue", type=Path, help="folder with GLUE's files: CoLA, RTE, SST-2")
    parser.add_argument("weights", type=Path, help="folder of `make weights`: minilm_l6, mpnet_base")
    parser.add_argument("blocks", nargs="*", choices=[[], *BLOCKS], help="default: all, in this order")
    options = parser.parse_args()
    for name in options.blocks or BLOCKS:
        block = BLOCKS[name]
        folder = options.weights / (block.weights or block.backbone)
        if block.weights == HALF and not folder.exists():
            halve(options.weights / "mpnet_base", folder)
        places = [
            "experiment=real_scores", f"task={block.task}", f"backbone={block.backbone}", f"data.path={options.glue}",
            f"backbone.path={folder}",
        ]  # fmt: skip
        for label in block.methods:
            method = block.overrides(label)
            sweep = f"sweep=real_{name}_{label}"
            train(
                *places,
                *method,
                *block.typed.split(),
                "seed=0",
                f"optimizer.lr={block.rates_of(label)}",
                f"{sweep}_rates",
            )
            rate = f"optimizer.lr={best_rate(f'real_{name}_{label}_rates')}"
            train(*places, *method, *block.typed.split(), "seed=0,1,2", rate, sweep)
            collect(name, block)


if __name__ == "__main__":
    main()
