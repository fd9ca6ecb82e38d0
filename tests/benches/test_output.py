"""Test the table and the plot of a benchmark."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import kronecker, memory, report, training
from benchmarks.kronecker import Options, build_layers
from benchmarks.report import show


def test_cells() -> None:
    assert report.format_cell("median_s", 0.0123) == "12.3 ms"
    assert report.format_cell("real_tokens_per_s", 1234.5) == "1,234"
    assert report.format_cell("spread", 0.015) == "1.5 %"
    assert report.format_cell("peak_memory", 3 * 2**30) == "3,072"
    assert report.format_cell("ratio_to_floor", None) == "–"
    assert report.format_cell("ratio_to_floor", 1.0384) == "1.038"


def kronecker_rows() -> list[dict[str, Any]]:
    """Return rows for the layers that the benchmark has by default."""
    layers = build_layers(Options(shapes=[[32, 24], [2, 384], [192, 4]]), seed=0)
    ratios = {"lora": 1.1, "krona": 1.25, "krona/built": 2.4}
    return [
        {
            "name": name, "shape": f"{layer.shape[0]}x{layer.shape[1]}", "kind": layer.kind, "d_in": layer.d_in,
            "d_out": layer.d_out, "tokens": tokens, "median_s": 0.01, "spread": 0.01, "ratio_to_floor": ratio,
            "ratio_to_lora": ratio / 1.1, "ratio_to_best": 1.0, "ratio_to_built": ratio / 2.4,
        }
        for layer in layers for tokens in (512, 3200) for name, ratio in ratios.items()
    ]  # fmt: skip


def training_rows() -> list[dict[str, Any]]:
    names = ["floor", "floor + layer_norm", "floor/library", *(f"method_{number}" for number in range(24))]
    return [{"name": name, "shape": None, "median_s": 1.0, "spread": 0.01, "ratio_to_floor": 1.02} for name in names]


def memory_rows() -> list[dict[str, Any]]:
    points = [("t5_base", 8, 64, 1), ("t5_base", 16, 64, 1), ("t5_base", 8, 128, 1), ("t5_large", 8, 64, 1)]
    keys = ("backbone", "batch_size", "length", "adapters")
    row = {"shape": None, "median_s": 1.0, "spread": 0.1, "peak_memory": 2**30}
    names = ("full", "krona_b_res")
    return [row | {"name": name} | dict(zip(keys, point, strict=True)) for name in names for point in points]


@pytest.mark.parametrize(
    ("kind", "rows", "drawn", "words"),
    [
        (kronecker, kronecker_rows(), 66, ["32x24  768 → 768, 512 rows", "1.250"]),
        (training, training_rows(), 27, ["method_23", "floor/library", "1.020"]),
        (memory, memory_rows(), 8, ["t5_large, 8 × 64, adapters: 1", "peak memory (GiB)"]),
    ],
)
def test_the_plot_has_a_line_for_each_row(
    kind: Any, rows: list[dict[str, Any]], drawn: int, words: list[str], tmp_path: Path
) -> None:
    said = Console(file=io.StringIO(), width=300)
    show(kind, rows, title="bench=x", file=tmp_path / "a.json", console=said, disturbed=True)
    svg = (tmp_path / "a.svg").read_text()
    assert svg.count("<title>") == drawn
    assert all(word in svg for word in (*words, "bench=x · machine under load, do not use"))
    assert report.UNDER_LOAD in said.file.getvalue()
