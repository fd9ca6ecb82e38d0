"""Data of the page's script, kept small: a thousand runs in a few hundred kilobytes."""

import os
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from krona.messages import amount
from krona.report import choice, front, palette, studies, text
from krona.report.grouping import in_words
from krona.report.selection import StoredRun
from krona.report.table import Cell, Column, Report, Table
from krona.report.used_shapes import settings_used, used_shape

SCORES = ("task", "beside", "average")  # kinds of columns
ALL_PAIRS = 60  # rows up to which every pair of a column is compared; beyond, each with the best


def page_data(report: Report, base: Path | None) -> dict[str, Any]:
    """runs, cells and plots' points; ``base`` is the folder that links to result.json start from."""
    seeds = choice.MOST_SEEDS if len(report.runs) > choice.MOST_RUNS else None
    runs = _all_runs(report, seeds)
    number = {id(run): i for i, run in enumerate(runs)}
    common, keys, variants, variant_of = _settings(runs)
    folders = list(dict.fromkeys(run.path.parent.parent for run in runs))
    start = (base or Path.cwd()).resolve()
    made = {text: i for i, text in enumerate(dict.fromkeys(map(_made, runs)))}
    return {
        "keys": keys, "common": common, "variants": variants,
        "folders": [Path(os.path.relpath(folder.resolve(), start)).as_posix() for folder in folders],
        "runs": [
            _run(run, folders.index(run.path.parent.parent), variant_of[id(run)], made[_made(run)]) for run in runs
        ],
        "made": list(made),
        "tables": [_table(table, number, seeds) for table in report.tables],
        "studies": [studies.data_of(study) for study in report.studies],
    }  # fmt: skip


def _all_runs(report: Report, seeds: int | None) -> list[StoredRun]:
    """With ``seeds``, only what the tables show, and so many of a cell."""
    cells = [cell.runs for table in report.tables for row in table.rows for cell in row.cells.values()]
    shown = [run for runs in cells for run in runs[:seeds]]
    everything = (*(report.runs if seeds is None else ()), *shown, *report.unfinished)
    return list({id(run): run for run in everything}.values())


def _run(run: StoredRun, folder: int, variant: int, made: int) -> list[Any]:
    """The order is `page.js`'s."""
    result, epochs = run.result, run.whole.dev_curve
    curve = [_short(entry.get("score")) for entry in epochs]
    return [
        result.run_id, folder, variant, made, result.seed, _short(run.score("test")), _short(run.score("dev")),
        result.best_epoch, _short(result.times.get("train"), 1), curve, result.notes,
        epochs[0].get("epoch") if epochs else None,
    ]  # fmt: skip


def _made(run: StoredRun) -> str:
    """Code, machine and libraries in a line; equal ones are stored once."""
    found = run.result.provenance
    versions = ", ".join(f"{name} {version}" for name, version in (found.get("versions") or {}).items())
    changed = " with uncommitted changes" if found.get("git_dirty") else ""
    threads = f", {amount(found['threads'], 'thread')}" if found.get("threads") else ""
    return (
        f"code {found.get('git_commit')}{changed}; {found.get('device')}{threads}; "
        f"backbone {found.get('backbone_fingerprint')}; {versions}"
    )


def _table(table: Table, number: dict[int, int], seeds: int | None) -> dict[str, Any]:
    tasks = [column.key for column in table.columns if column.kind == "task"] if table.section else []
    columns = [[column.key, column.label, column.kind] for column in table.columns]
    rows: list[dict[str, Any]] = []
    looks = _looks(table)
    for row, look in zip(table.rows, looks, strict=True):
        runs = [run for cell in row.cells.values() for run in cell.runs]
        first = next((run.result for run in runs if run.status == "done"), None)
        rows.append({
            "label": row.label, "differs": row.differs, "look": look,
            "shape": first and used_shape(first),
            "rank": first and first.provenance.get("update_rank"),
            "effective": _short(row.cells["effective"].value) if "effective" in row.cells else None,
            "params": first and first.trainable_params,
            "cells": {key: _cell(cell, number) for key, cell in row.cells.items() if cell.runs or cell.missing},
        })  # fmt: skip
    return {
        "heading": table.heading, "columns": columns, "rows": rows,
        "split": table.split, "ours": table.section is not None,
        "apart": {task: _apart(table, task, seeds) for task in tasks},
        "fronts": {column.key: _fronts(table, column) for column in table.columns if column.kind in SCORES},
    }  # fmt: skip


def _looks(table: Table) -> list[list[int]]:
    """Of each row its method's slot in the palette, which of the method's rows it is, and how many there are."""
    slots = [palette.slot(palette.method_of(row)) for row in table.rows]
    return [[slot, slots[:i].count(slot), slots.count(slot)] for i, slot in enumerate(slots)]


def _fronts(table: Table, column: Column) -> dict[str, list[list[Any] | None]]:
    """For each cost, each row's mean cost, whether it is on the front, and the probability of that; null: not known."""
    runs = [row.cells[column.key].runs if column.key in row.cells else [] for row in table.rows]
    found = {}
    for cost in front.COSTS if table.section else ():
        standings = front.standings(runs, table.scored_on(column), cost)
        if len({one.cost for one in standings if one}) > 1:
            found[cost] = [None if one is None else _standing(one) for one in standings]
    return found


def _standing(one: front.Standing) -> list[Any]:
    return [_short(one.cost, 1), int(one.on_front), _short(one.probability)]


def _cell(cell: Cell, number: dict[int, int]) -> dict[str, Any]:
    found = {
        "v": _short(cell.value), "r": _ends(cell.seed_range),
        "t": None if cell.seed_range else _ends(cell.interval), "b": _ends(cell.test_interval), "p": _short(cell.p, 4),
        "paper": cell.paper if cell.comparable else None, "best": cell.best, "tied": cell.tied,
        "remarks": text.cell_remarks(cell), "missing": cell.missing, "command": cell.command,
        "runs": [number[id(run)] for run in cell.runs if id(run) in number],
    }  # fmt: skip
    return {key: value for key, value in found.items() if value is not None and value is not False and value != []}


def _apart(table: Table, column: str, most: int | None) -> dict[str, Any]:
    """How many predictions two rows differ in, mean over the seeds that both have: {"i j": [mean, of, seeds]}."""
    by_row: list[dict[int, Any]] = []
    for row in table.rows:
        runs = row.cells[column].runs[:most] if column in row.cells else []
        by_row.append({run.result.seed: run.packed[table.split].given for run in runs if table.split in run.packed})
    known = [i for i, seeds in enumerate(by_row) if seeds]
    best = [i for i in known if table.rows[i].cells[column].best]
    found: dict[str, Any] = {}
    for i, j in combinations(known, 2):
        if len(known) > ALL_PAIRS and i not in best and j not in best:
            continue
        pairs = [(by_row[i][seed], by_row[j][seed]) for seed in by_row[i].keys() & by_row[j].keys()]
        counts = [int((a != b).sum()) for a, b in pairs if len(a) == len(b)]
        if counts:
            found[f"{i} {j}"] = [_short(float(np.mean(counts)), 1), len(pairs[0][0]), len(counts)]
    return found


def _settings(runs: Sequence[StoredRun]) -> tuple[dict[str, str], list[str], list[dict[int, str]], dict[int, int]]:
    """The commonest value of each key, and of each variant what it has instead."""
    used = {id(run): settings_used(run) for run in runs}
    keys = list(dict.fromkeys(key for run in runs for key in used[id(run)]))
    most = {key: Counter(used[id(run)].get(key, "") for run in runs).most_common(1)[0][0] for key in keys}
    common = {key: in_words(key, value) for key, value in most.items()}
    first = {run.variant: used[id(run)] for run in reversed(runs)}
    number = {variant: i for i, variant in enumerate(dict.fromkeys(run.variant for run in runs))}
    listed = []
    for variant in number:
        values = {i: in_words(key, first[variant].get(key, "")) for i, key in enumerate(keys)}
        listed.append({i: value for i, value in values.items() if value != common[keys[i]]})
    return common, keys, listed, {id(run): number[run.variant] for run in runs}


def _short(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else [round(end, 2) for end in interval]
