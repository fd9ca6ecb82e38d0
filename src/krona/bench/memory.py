"""bench=memory: peak memory and time of a training step as batch, length and model grow; a fresh process a figure.

The peak counts everything that a run holds: weights, gradients, activations and the optimiser's states, over what the
process held before the model was built.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from krona.bench.contestants import frozen_t5, random_batch, training_step, with_method
from krona.bench.settings import Bench, Entrant
from krona.errors import KronaError

Row = dict[str, Any]
Sizes = Mapping[str, Any]


def measure(
    bench: Bench, entrants: Sequence[Entrant], sizes: Mapping[str, Sizes], say: Callable[[str], None]
) -> list[Row]:
    """``sizes``: backbone → its sizes; each method at each point of ``bench.options['grid']``."""
    points = [(str(name), int(batch), int(length)) for name, batch, length in bench.options["grid"]]
    rows: list[Row] = []
    deadline = time.perf_counter() + 60 * bench.minutes
    for backbone, batch_size, length in points:
        for entrant in entrants:
            if time.perf_counter() > deadline:
                say(f"left out for time: {entrant.name} on {backbone}, {batch_size} × {length}")
                continue
            say(f"{entrant.name} on {backbone}, {batch_size} × {length}")
            peak, seconds = _in_fresh_process(sizes[backbone], entrant, batch_size, length, bench.seed)
            rows.append(
                {
                    "name": entrant.name,
                    "shape": entrant.shape,
                    "backbone": backbone,
                    "batch_size": batch_size,
                    "length": length,
                    "median_s": seconds,
                    "spread": 0.0,
                    "peak_memory": peak,
                }
            )
    full = {(r["backbone"], r["batch_size"], r["length"]): r for r in rows if r["name"] == "full"}
    for row in rows:
        other = full.get((row["backbone"], row["batch_size"], row["length"]))
        row["ratio_to_full"] = row["peak_memory"] / other["peak_memory"] if other else None
    return rows


def _in_fresh_process(sizes: Sizes, entrant: Entrant, batch_size: int, length: int, seed: int) -> tuple[int, float]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    arguments = (theirs, dict(sizes), entrant, batch_size, length, seed, torch.get_num_threads())
    process = context.Process(target=_child, args=arguments)
    process.start()
    theirs.close()
    try:
        answer: tuple[int, float] = ours.recv()
    except EOFError:
        process.join()
        raise KronaError(
            f"{entrant.name} at {batch_size} × {length} ended with code {process.exitcode}: likely out of memory; "
            "bench.options.grid with smaller points"
        ) from None
    process.join()
    return answer


def _child(pipe: Any, sizes: Sizes, entrant: Entrant, batch_size: int, length: int, seed: int, threads: int) -> None:
    torch.set_num_threads(threads)
    before = peak_bytes()
    model = with_method(frozen_t5(sizes, seed=seed), entrant, seed=seed)
    batch = random_batch(rows=batch_size, length=length, vocabulary=model.config.vocab_size, seed=seed)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-5, weight_decay=0.0) if trainable else None
    step = training_step(model, batch, from_embeddings=not trainable)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        step()
        if optimizer is not None:
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    pipe.send((peak_bytes() - before, min(seconds)))


def peak_bytes() -> int:
    """The most that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
