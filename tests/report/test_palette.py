"""Colours of methods: the same in every format, each readable on a light and on a dark page."""

import json
import re

from krona.paper import METHOD_LABELS
from krona.report import palette
from krona.report.build import build_report
from report.generate import grid, write_all


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_are_legible_and_looks_differ():
    for light, dark in zip(palette.LIGHT, palette.DARK, strict=True):
        assert min(contrast(light, "#ffffff"), contrast(light, "#000000")) > 2.8
        assert contrast(dark, "#15171b") > 4.5
    looks = {(palette.slot(name) % len(palette.LIGHT), palette.mark(palette.slot(name))) for name in METHOD_LABELS}
    assert len(looks) == len(METHOD_LABELS)
    assert palette.slot("mine") == palette.slot("mine") >= len(METHOD_LABELS)


def test_a_method_has_one_colour_in_every_format_and_beside_any_others(tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    write_all(few, grid(["krona_b", "krona"], ["rte"], [0], rows=40))
    write_all(many, grid(["full", "lora", "krona", "krona_b"], ["rte"], [0], rows=40))
    place = palette.slot("krona")
    red, green, blue = (int(palette.LIGHT[place][i : i + 2], 16) for i in (1, 3, 5))
    for outputs in (few, many):
        page = build_report(outputs, format="html")
        data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
        assert next(row["look"] for row in data["tables"][0]["rows"] if row["label"] == "KronA") == [place, 0, 1]
        assert f"--c{place}:{palette.LIGHT[place]}" in page
        picture = build_report(outputs, format="svg")
        assert f'<circle class="mark" style="--c:var(--c{place})"' in picture
        assert f"--c{place}:{palette.LIGHT[place]}" in picture
        terminal = build_report(outputs, width=100, color=True)
        (code,) = re.findall(r"\x1b\[38;5;(\d+)mKronA *\x1b", terminal)
        six = [(int(code) - 16) // 36, (int(code) - 16) // 6 % 6, (int(code) - 16) % 6]  # of the 256 colours' cube
        near = [0 if step == 0 else 55 + 40 * step for step in six]
        assert max(abs(a - b) for a, b in zip(near, (red, green, blue), strict=True)) <= 48


def test_rows_of_one_method_share_its_colour(tmp_path):
    from report.generate import make_result

    shapes = ([[2, 384], [384, 2]], [[12, 64], [64, 12]])
    write_all(
        tmp_path, [make_result("krona", "rte", 0, rows=40, change={"method.kron_factors": one}) for one in shapes]
    )
    page = build_report(tmp_path, format="html")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    place = palette.slot("krona")
    assert [row["look"] for row in data["tables"][0]["rows"]] == [[place, 0, 2], [place, 1, 2]]
