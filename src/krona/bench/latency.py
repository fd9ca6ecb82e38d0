"""bench=latency: one forward of each method over the bare backbone's, and the operations that it adds (Table 2).

The form that ships has a method's own name: merged where its update is a matrix, prepared where it is not, the plain
modules where neither applies. `<method>/plain` are the plain modules.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from krona import preparing, surgery
from krona.bench.contestants import frozen_t5, moved, peft_twins, twin, with_method
from krona.bench.launches import launches
from krona.bench.rounds import Timed, timed_rounds
from krona.bench.settings import Bench, Entrant
from krona.errors import KronaError

Row = dict[str, Any]


def measure(
    bench: Bench, entrants: Sequence[Entrant], sizes: Mapping[str, Any], say: Callable[[str], None]
) -> list[Row]:
    """Rows for batch 1 × 10 (the paper's) and for a larger batch."""
    backbone: Any = frozen_t5(sizes, seed=bench.seed)
    backbone.eval()
    models, forms = {"backbone": twin(backbone)}, {"backbone": "bare"}
    for entrant in entrants:
        plain = with_method(backbone, entrant, seed=bench.seed)
        moved(plain, seed=bench.seed)
        models[entrant.name], forms[entrant.name] = shipped(plain)
        if forms[entrant.name] != "plain":
            again = with_method(backbone, entrant, seed=bench.seed)
            moved(again, seed=bench.seed)
            models[f"{entrant.name}/plain"], forms[f"{entrant.name}/plain"] = again, "plain"
    if bench.peft:
        for name, build in peft_twins(backbone).items():
            models[name], forms[name] = build(), "plain"
    shapes = {entrant.name: entrant.shape for entrant in entrants}

    rows = []
    options = bench.options
    paper = (1, int(options["source"]), int(options["decoder"]), bench.rounds, bench.warm_up, 0.7)
    large = (bench.batch_size, bench.length, int(options["decoder"]), int(options["large_rounds"]), 1, 0.3)
    for batch_size, source, decoder, rounds, warm_up, share in (paper, large):
        say(f"batch {batch_size} × {source}")
        inputs = _inputs(batch_size, source, decoder, vocabulary=backbone.config.vocab_size, seed=bench.seed)
        calls = {name: _forward(model, inputs) for name, model in models.items()}
        counts = {name: launches(call).total() for name, call in calls.items()}
        timed = timed_rounds(
            calls,
            rounds=rounds,
            warm_up=warm_up,
            minutes=share * bench.minutes,
            mark_load=bench.load == "mark",
            seed=bench.seed,
            say=say,
        )
        rows += [
            _row(name, timed, counts, forms[name], shapes.get(name.split("/")[0]), (batch_size, source, decoder))
            for name in models
        ]
    return rows


def shipped(model: Any) -> tuple[Any, str]:
    """A tuned model in the fastest form that it has, and what that is."""
    model.eval()
    if not list(surgery.adapted_modules(model)):
        return model, "bare"
    try:
        surgery.merge(model)
        return model, "merged"
    except KronaError:
        pass
    if preparing.prepare(model):
        return model, "prepared"
    preparing.release(model)
    return model, "plain"


def constant_that_explains(rows: Sequence[Row], printed: Mapping[str, float]) -> tuple[float, float] | None:
    """Launches of the authors' bare model by which added launches come nearest to Table 2's latencies: the constant,
    and the largest distance that is left (1 = the bare model's latency). Plain modules, batch 1."""
    pairs = [
        (row["launches_added"], printed[row["name"].removesuffix("/plain")] / 100 - 1)
        for row in rows
        if row["form"] == "plain" and row["batch_size"] == 1 and row["name"].removesuffix("/plain") in printed
    ]
    pairs = [(added, latency) for added, latency in pairs if latency > 0 and added > 0]
    if not pairs:
        return None
    slope = sum(a * b for a, b in pairs) / sum(a * a for a, _ in pairs)  # least squares through zero
    return 1 / slope, max(abs(a * slope - b) for a, b in pairs)


def _inputs(batch_size: int, source: int, decoder: int, *, vocabulary: int, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "input_ids": torch.randint(2, vocabulary, (batch_size, source), generator=generator),
        "attention_mask": torch.ones(batch_size, source, dtype=torch.long),
        "decoder_input_ids": torch.randint(2, vocabulary, (batch_size, decoder), generator=generator),
    }


def _forward(model: Any, inputs: dict[str, torch.Tensor]) -> Callable[[], None]:
    model.eval()

    @torch.no_grad()
    def call() -> None:
        model(**inputs, use_cache=False)

    return call


def _row(
    name: str, timed: Timed, counts: Mapping[str, int], form: str, shape: str | None, sizes: tuple[int, int, int]
) -> Row:
    batch_size, source, decoder = sizes
    return {
        "name": name,
        "shape": shape,
        "form": form,
        "batch_size": batch_size,
        "source": source,
        "decoder": decoder,
        "median_s": timed.median(name),
        "spread": timed.spread(name),
        "ratio_to_full": timed.ratio(name, "full") if "full" in timed.seconds else None,
        "ratio_to_backbone": timed.ratio(name, "backbone"),
        "launches": counts[name],
        "launches_added": counts[name] - counts["backbone"],
        "repeats": [_median_of_third(timed.seconds[name], part) for part in range(3)],
        "rounds": len(timed.seconds[name]),
        "disturbed_rounds": timed.disturbed,
    }


def _median_of_third(values: Sequence[float], part: int) -> float:
    """The paper's three repeats: the rounds in three parts."""
    size = max(1, len(values) // 3)
    chosen = sorted(itertools.islice(values, part * size, (part + 1) * size)) or sorted(values)
    return chosen[len(chosen) // 2]
