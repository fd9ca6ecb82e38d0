"""Compare the methods on real GLUE data with pretrained encoders: choose learning rates on dev, then train three seeds.

    python scripts/real_scores.py GLUE_FOLDER WEIGHTS_FOLDER                # all blocks, in order of priority
    python scripts/real_scores.py GLUE_FOLDER WEIGHTS_FOLDER mpnet_cola     # one block

Each method gets the same number of trials on each task. A trial trains on 2,000 rows with one seed and scores only dev.
After an interruption, run the same command again: finished runs are not repeated.
`conf/experiment/real_scores.yaml` describes the protocol.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import krona

ROOT = Path(__file__).resolve().parent.parent
NO_NORMS = "method.train_layer_norms=false"
SQUARE, FLAT = "square", "flat"  # two shapes of KronA's factors; `Block.shapes` contains their sizes for a backbone
METHODS = {  # from the label of a method to its overrides
    "full": "method=full",
    "lora": "method=lora",
    "krona": f"method=krona {SQUARE}",
    "krona_b": "method=krona_b",
    "layer_norm": "method=layer_norm",
    "lora_only": f"method=lora {NO_NORMS}",
    "krona_only": f"method=krona {SQUARE} {NO_NORMS}",
    "untuned": "method=untuned",
    "krona_flat": f"method=krona {FLAT}",
    "pa": "method=pa",
    "pa_only": f"method=pa {NO_NORMS}",
    "adapter": "method=adapter",
    "bitfit": "method=bitfit",
    "compacter": "method=compacter",
    "krona_b_res": "method=krona_b_res",
}
FEW = ("full", "lora", "krona", "krona_b", "layer_norm", "lora_only", "krona_only")
RATES = {"full": "1e-5,2e-5,5e-5,1e-4", "untuned": "1e-3,3e-3,1e-2,3e-2"}  # four learning rates to try per method
PET_RATES = "3e-4,1e-3,3e-3,1e-2"
TRIAL = "seed=0 score_test=false data.train_rows=2000 trainer.max_epochs=4"


@dataclass(frozen=True)
class Block:
    """A part of the comparison: the runs of several methods on one task with one backbone."""

    backbone: str
    task: str
    typed: str
    shapes: dict[str, str]
    methods: tuple[str, ...] = tuple(METHODS)


WIDE = {SQUARE: "method.kron_factors=[[32,24]]", FLAT: "method.kron_factors=[[2,384]]"}  # for layers of 768 × 768
NARROW = {SQUARE: "method.kron_factors=[[16,24]]", FLAT: "method.kron_factors=[[2,192]]"}  # for layers of 384 × 384
BLOCKS = {  # in order of priority
    "mpnet_cola": Block("mpnet_base", "cola", "trainer.max_epochs=5", WIDE, FEW),
    "minilm_cola": Block("minilm_l6", "cola", "trainer.max_epochs=10", NARROW),
    "minilm_rte": Block("minilm_l6", "rte", "trainer.max_epochs=10", NARROW),
    "minilm_sst2": Block("minilm_l6", "sst2", "trainer.max_epochs=4 data.train_rows=16000", NARROW),
    "mpnet_rte": Block("mpnet_base", "rte", "trainer.max_epochs=10", WIDE, FEW),
}


def train(*typed: str) -> None:
    """Run ``train.py -m`` with these arguments, and show its output."""
    print(f"\n$ python train.py -m {' '.join(typed)}", flush=True)
    subprocess.run([sys.executable, str(ROOT / "train.py"), "-m", *typed], check=True)


def best_rate(sweep: str) -> float:
    """Return the learning rate of the run with the highest dev score in a sweep.

    If several runs have this score, return the lowest of their learning rates.
    """
    results = krona.read_results()
    trials = results[(results["sweep"] == sweep) & (results["status"] == "done")]
    return float(trials.sort_values(["dev", "lr"], ascending=[False, True]).iloc[0]["lr"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("glue", type=Path, help="folder with GLUE's files: CoLA, RTE, SST-2")
    parser.add_argument("weights", type=Path, help="folder of `make weights`: minilm_l6, mpnet_base")
    parser.add_argument("blocks", nargs="*", choices=[[], *BLOCKS], help="default: all, in this order")
    options = parser.parse_args()
    for name in options.blocks or BLOCKS:
        block = BLOCKS[name]
        places = [
            "experiment=real_scores", f"task={block.task}", f"backbone={block.backbone}", f"data.path={options.glue}",
            f"backbone.path={options.weights / block.backbone}",
        ]  # fmt: skip
        for label in block.methods:
            method = [block.shapes.get(word, word) for word in METHODS[label].split()]
            rates = f"optimizer.lr={RATES.get(label, PET_RATES)}"
            train(*places, *method, *block.typed.split(), *TRIAL.split(), rates, f"sweep=rates_{name}_{label}")
            rate = f"optimizer.lr={best_rate(f'rates_{name}_{label}')}"
            train(*places, *method, *block.typed.split(), rate, "seed=0,1,2", f"sweep=real_{name}_{label}")


if __name__ == "__main__":
    main()
