"""Generate tables of docs/claims.md and docs/notebook.md: tests of printed numbers, and results in docs/results/."""

import json
import re
from collections import defaultdict
from functools import cache, partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from paper_differences import paper_differences

from krona.display_names import TASK_LABELS, method_labels
from krona.formatting import format_p
from krona.metrics.compare_methods import LEVEL, Difference
from krona.metrics.statistics import holm
from krona.paper import read_paper_table
from krona.report.build import collect
from krona.report.pairs import format_pairs
from krona.report.runs import ReportRun
from krona.report.sentences import summarize
from krona.report.table import Cell, Report, Row, Table
from krona.report.text import cell_mark, cell_value, format_seeds, tag_labels

PAIRS = {  # of rows, by table of the paper
    "1": (
        ("krona", "lora"), ("krona_b", "pa"), ("krona", "full"), ("krona_b", "full"), ("krona_b_res", "full"),
        ("lora", "full"), ("krona_b_res", "krona_b"), ("krona", "bitfit"),
    ),
    "4": (("kaiming_uniform", "normal"),),
    "5": (("parallel", "sequential"), ("ps", "parallel"), ("ps", "ps_silu"), ("ps_ffn", "ps")),
    "6": (("silu", "gelu"),),
    "9": (("2x384", "3x256"),),
}  # fmt: skip
REGISTERED_REFERENCES = {
    "sst2_minilm": "LoRA (train_layer_norms=false)",
    "cola_mpnet": "LoRA (variant=comparison/lora)",
}
BACKBONES = {"T5-base": "training", "BERT-base": "training-bert_base", "MPNet": "training-mpnet_base",
             "MiniLM": "training-minilm_l6", "SmolLM2": "training-smollm2_135m"}  # fmt: skip
FAIR = ("mpnet_cola", "mpnet_lora_size")  # blocks with an equal search
RESULTS = Path(__file__).resolve().parents[1] / "results"
SWEEPS = {  # packs of runs, and the sweep with the runs of the chosen rates
    "sst2_minilm": "comparison_sst2_minilm",
    "cola_mpnet": "comparison_cola_mpnet",
    "mpnet_cola": "encoders_mpnet_cola",
    "mpnet_lora_size": "encoders_mpnet_lora_size",
    "minilm_cola": "encoders_minilm_cola_seeds",
    "minilm_rte": "encoders_minilm_rte_seeds",
    "minilm_sst2": "encoders_minilm_sst2_seeds",
    "minilm_ranks": "encoders_minilm_ranks_seeds",
    "mpnet_ranks": "encoders_mpnet_ranks_seeds",
}
EARLIER = {
    "mpnet_lora_size": "CoLA, MPNet, frozen LayerNorms",
    "minilm_sst2": "SST-2, MiniLM, trained LayerNorms",
}
SHOWN = ("full", "krona", "krona_b", "krona_b_res", "pa", "adapter", "compacter", "bitfit")


def differences() -> list[str]:
    """Return the tasks on which printed scores differ beyond chance: cautious p, Holm over the tasks of a pair.

    The last lines are a list of the pairs without such a task.
    """
    lines = ["| table | rows | first is better on | p below 0.05 after Holm |", "|:--|---|--:|---|"]
    others = []
    for number, pairs in PAIRS.items():
        for first, second in pairs:
            found = paper_differences(number, (first, second))
            corrected = holm([pair.cautious for pair in found])
            better = sum(pair.better == first and pair.difference > 0 for pair in found)
            ways: dict[str, list[str]] = defaultdict(list)
            for pair, p in zip(found, corrected, strict=True):
                if p < LEVEL:
                    ways[pair.better].append(f"{TASK_LABELS[pair.task]} ({format_p(p, 3)})")
            if max(corrected) < 0.01 and better == len(found):
                ways = {first: [f"all (< {0.001 if max(corrected) < 0.001 else 0.01})"]}
            told = "; ".join(f"{_label(row)}: {', '.join(tasks)}" for row, tasks in ways.items())
            names, count = f"{_label(first)}, {_label(second)}", f"{better} of {len(found)}"
            if told:
                lines.append(f"| {number} | {names} | {count} | {told} |")
            else:
                others.append(f"{names} (Table {number}, {count})")
    return [*lines, "", f"On no task: {'; '.join(others)}."]


def _pairs(block: str) -> list[str]:
    """Return the differences to the reference row in the report of a block."""
    frame = format_pairs(_report(block).tables[0].reference_pairs, family="p_reference")
    return _lines([[*frame.columns], *([_escape(text) for text in row] for row in frame.itertuples(index=False))])


@cache
def _report(block: str, baseline: str | None = None, run_ids: frozenset[str] | None = None) -> Report:
    """Return the report that ``krona report SWEEP --outputs PACK --baseline ROW`` shows, or a report of some runs."""
    pack = RESULTS / f"encoders-{block}.tar.xz"
    return collect(pack, sweep=SWEEPS[block], run_ids=run_ids, baseline=baseline)


def earlier() -> list[str]:
    """Return the difference between KronA and LoRA in the reports of earlier blocks."""
    lines = ["| runs | seeds | KronA − LoRA | 95 % interval | detectable |", "|:--|--:|--:|--:|--:|"]
    for block, name in EARLIER.items():
        pairs = format_pairs(_report(block).tables[0].reference_pairs, family="p_reference").to_dict("records")
        pair = next(pair for pair in pairs if pair["Pair"].startswith("KronA "))
        cells = [pair[name] for name in ("Seeds", "Difference", "Interval", "Detectable")]
        lines.append(f"| [{name}](results/encoders-{block}.tar.xz) | {' | '.join(cells)} |")
    return lines


def registered(block: str, margin: float) -> list[str]:
    """Return the difference of each row of a registered block to LoRA, with the verdict by the registered rule.

    Args:
        margin: the smallest difference of interest, in points.
    """
    reference = REGISTERED_REFERENCES[block]
    table = _report(block, reference).tables[0]
    collapsed = {row.name: _collapsed_runs(row) for row in table.rows}
    verdicts = stable = _verdicts(table, margin)
    if any(collapsed.values()):
        kept = frozenset(run.run_id for row in table.rows for run in row.done if run not in collapsed[row.name])
        stable = _verdicts(_report(block, reference, kept).tables[0], margin)
    frame = format_pairs(table.reference_pairs, family="p_reference")
    texts = {text["Pair"]: text for text in frame.to_dict("records")}
    lines = ["| row − LoRA | seeds | collapsed | difference | 95 % interval | p (Holm) | p (equivalent) | verdict |"]
    lines.append(f"|:--|{'--:|' * 6}---|")
    for name, verdict in verdicts.items():
        text = texts[f"{name} − {reference}"]
        words = verdict.text or f"open (detectable: {text['Detectable']})"
        if verdict.text != stable[name].text:
            words = f"open ({verdict.text or 'open'}; without collapsed runs: {stable[name].text or 'open'})"
        cells = [name.replace("_", r"\_"), text["Seeds"], str(len(collapsed[name]))]
        cells += [text[key] for key in ("Difference", "Interval", "p (Holm)")]
        lines.append(f"| {' | '.join([*cells, format_p(verdict.p_equivalent, 3), words])} |")
    if any(collapsed.values()):
        seeds = next(len(row.done) for row in table.rows if row.name == reference)
        lines += ["", f"Collapsed runs of the reference: {len(collapsed[reference])} of {seeds}."]
    return lines


class Verdict(NamedTuple):
    """The verdict on a row by the registered rule."""

    text: str  # empty if the verdict is open
    p_equivalent: float


def _verdicts(table: Table, margin: float) -> dict[str, Verdict]:
    """Return the verdict on each row that is compared with the reference, by the row's name."""
    verdicts = {}
    order = [row.name for row in table.rows]
    for pair in table.reference_pairs.sort_values("row", key=lambda names: names.map(order.index)).itertuples():
        p = Difference(pair.difference, pair.error, pair.df, pair.seeds, pair.rows).p_equivalent(margin)
        words = [("better" if pair.difference > 0 else "worse")] if pair.p_reference < LEVEL else []
        words += ["equivalent"] if p < LEVEL else []
        verdicts[pair.row] = Verdict(" and ".join(words), p)
    return verdicts


def _collapsed_runs(row: Row) -> list[ReportRun]:
    cell = row.cells[row.done[0].task]
    seeds = {seed for message, seeds in cell.messages.items() if message.collapsed for seed in seeds}
    return [run for run in cell.runs if run.seed in seeds]


def scores(block: str) -> list[str]:
    """Return the first sentence of a block's report, and its scores on test and dev with the search of each rate."""
    heading, *lines = [row[:3] for row in _cells(block)]
    rows = [[*heading, "dev", "trials", "best rate (head)", "of the tried rates"]]
    for line, row in zip(lines, _report(block).tables[0].rows, strict=True):
        notes = " ".join(note for run in row.done for note in run.result.notes)
        trials = re.search(r"best of (\d+) trials", notes)
        dev_scores = [run.scores["dev"] for run in row.done]
        dev = f"{mean(dev_scores):.2f} (sd {stdev(dev_scores):.2f})"
        optimizer = row.done[0].result.config["optimizer"]
        factor = (optimizer.get("lr_factors") or {}).get("head", 1)
        edge = "at the edge" if "that was tried" in notes else "inside"
        rows.append([*line, dev, trials[1] if trials else "?", f"{optimizer['lr']:g} (× {factor:g})", edge])
    return [_escape(summarize(_report(block))[0]), "", *_lines(rows)]


def ranks(block: str) -> list[str]:
    """Return the scores of a block with the highest ranks of the updates."""
    return _lines([[row[0], row[2], row[3]] for row in _cells(block)])


def minilm() -> list[str]:
    """Return MiniLM's scores on three tasks, with a column for each task."""
    first, *others = ({row[0]: row[2] for row in _cells(f"minilm_{task}")} for task in ("cola", "sst2", "rte"))
    return _lines([[name, score, *(scores[name] for scores in others)] for name, score in first.items()])


def _cells(block: str) -> list[list[str]]:
    """Return the heading and the rows of a table of scores, without learning rates and intervals over test rows."""
    table = _report(block).tables[0]
    rows = [[table.axis, *("<br>".join([one.label, *map("<sub>{}</sub>".format, one.details)]) for one in table.shown)]]
    for row in table.rows:
        settings = re.sub(r", optimizer\.lr=.*", "", row.differs)
        name = _escape(row.label) + (f"<br><sub>{_escape(settings)}</sub>" if settings else "")
        rows.append([name, *(_cell(row.cell(column.key)) for column in table.shown)])
    return rows


def _cell(cell: Cell) -> str:
    value = f"**{cell_value(cell)}**" if cell.best or cell.tied else cell_value(cell)
    spread = format_seeds(cell)
    return f"{value}{_escape(cell_mark(cell))}{f' {spread}' if spread else ''}"


def _escape(text: str) -> str:
    """Return a text as Markdown, with superscripts and subscripts in the labels of methods."""
    return tag_labels(text, lambda part: re.sub(r"([\\`*_|~\[\]])", r"\\\1", part))


def _lines(rows: list[list[str]]) -> list[str]:
    """Return a table in Markdown, whose first row is the heading."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], f"|:--|{'--:|' * (len(rows[0]) - 1)}", *lines[1:]]


def _label(row: str) -> str:
    return method_labels().get(row, row.replace("_", " "))


def training() -> list[str]:
    """Return the time of a training step over LoRA's: the paper's, and this project's on five backbones."""
    paper = {name: row["training_time"] for name, row in read_paper_table("2").rows.items()}
    measured = {name: {row["name"]: row["ratio_to_lora"] for row in _rows(file)} for name, file in BACKBONES.items()}
    lines = [f"| | paper, T5-base | {' | '.join(measured)} |", f"|---|{'--:|' * (len(measured) + 1)}"]
    for method in SHOWN:
        cells = [f"{rows[method]:.3f}" if method in rows else "–" for rows in measured.values()]
        lines.append(f"| {_label(method)} | {paper[method] / paper['lora']:.2f} | {' | '.join(cells)} |")
    return lines


def latency() -> list[str]:
    """Return latencies over the backbone's, batch 1 × 10: the paper's on a V100, and plain modules on a CPU."""
    paper = read_paper_table("2").rows
    ours = {row["name"]: row for row in _rows("latency") if row["batch_size"] == 1}
    methods = ("lora", "krona", "bitfit", "pa", "krona_b", "krona_b_res", "adapter", "compacter")
    lines = ["| | paper, V100 | CPU | form |", "|---|--:|--:|---|"]
    for method in methods:
        row = ours.get(f"{method}/plain", ours[method])
        ratios = f"{paper[method]['latency'] / 100:.2f} | {row['ratio_to_backbone']:.3f}"
        lines.append(f"| {_label(method)} | {ratios} | {row['form']} |")
    return lines


def memory() -> list[str]:
    """Return the peak memory of a training step in MiB, batch 8 × 64."""
    rows = [row for row in (*_rows("memory"), *_rows("memory-backbones")) if row["name"] in ("full", "lora", "krona")]
    rows = [row for row in rows if (row["batch_size"], row["length"], row["adapters"]) == (8, 64, 1)]
    sizes = {(row["backbone"], row["name"]): row["peak_memory"] / 2**20 for row in rows}
    lines = ["| | full | LoRA | KronA |", "|---|--:|--:|--:|"]
    for backbone in ("t5_base", "bert_base", "minilm_l6", "smollm2_135m"):
        cells = [f"{sizes[backbone, method]:,.0f}" for method in ("full", "lora", "krona")]
        lines.append(f"| `{backbone}` | {' | '.join(cells)} |")
    return lines


def _rows(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    return rows


def calibration() -> list[str]:
    """Return the level and the power of the test between methods, and of Welch's test, in simulations."""
    rows = _rows("calibration")
    heading = ["scene", *[name for name in rows[0] if name != "name"]]
    return _lines([heading, *([row["name"], *(f"{row[name]:.1f}" for name in heading[1:])] for row in rows)])


def search_calibration() -> list[str]:
    """Return the rates of wrong and of right tests of methods after a search, in percent."""
    scenes = json.loads((RESULTS / "search_calibration.json").read_text(encoding="utf-8"))["scenes"]
    heading = ["scene", *next(iter(scenes.values()))]
    rows = [[scene, *(f"{100 * share:.1f}" for share in shares.values())] for scene, shares in scenes.items()]
    return _lines([heading, *rows])


TABLES = {
    "registered_sst2_minilm": partial(registered, "sst2_minilm", margin=0.5),
    "registered_cola_mpnet": partial(registered, "cola_mpnet", margin=1),
    "earlier": earlier,
    "differences": differences,
    "training": training,
    "latency": latency,
    "memory": memory,
    "calibration": calibration,
    "search_calibration": search_calibration,
    "minilm": minilm,
    "ranks_minilm": partial(ranks, "minilm_ranks"),
    "ranks_mpnet": partial(ranks, "mpnet_ranks"),
    **{f"scores_{block}": partial(scores, block) for block in FAIR},
    "pairs_mpnet_cola": partial(_pairs, "mpnet_cola"),
    "pairs_mpnet_lora_size": partial(_pairs, "mpnet_lora_size"),
}
