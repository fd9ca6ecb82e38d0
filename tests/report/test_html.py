"""Test the HTML report: its tables, charts and dialogs, as text and in a real browser."""

import json
import re
import shutil
import subprocess
from html import escape, unescape

import pytest

from krona.report.build import build_report
from report.generate import grid, make_result, set_answers, with_score, write_all

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--allow-file-access-from-files", "--dump-dom",
    "--enable-logging=stderr",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("outputs")
    results = grid(["full", "lora", "krona"], ["rte", "stsb"], [0, 1], rows=80)
    for shape in ([[2, 384], [384, 2]], [[12, 64], [64, 12]]):
        results.append(make_result("krona", HOSTILE, 0, kind="own", change={"method.kron_factors": shape}))
    write_all(outputs, [*results, make_result("lora", "mrpc", status="failed")])
    (outputs / "broken").mkdir()
    (outputs / "broken" / "result.json").write_text("{")
    build_report(outputs, table="1", format="html", out=outputs / "report.html")
    build_report(outputs, format="html", out=outputs / "all.html")
    return outputs


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text()


def run_in_browser(file, script, tmp_path, *, width=1280, dark=False):
    """Return the value of a function body in Chromium, which can use ``page`` and ``view``. The console stays empty."""
    call = f"(function (page, view) {{ {script} }})(this.contentDocument, this.contentWindow)"
    load = escape(f"document.body.textContent = JSON.stringify({call})")
    frame = f'<body><iframe src="{file.as_uri()}" style="width: {width}px; height: 900px" onload="{load}"></iframe>'
    (tmp_path / "frame.html").write_text(frame)
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [BROWSER, *FLAGS, scheme, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in done.stderr
    return json.loads(unescape(re.search("<body>(.*)</body>", done.stdout)[1]))


def titles(page):
    return re.findall("<figcaption>(.*?)</figcaption>", page)


def test_the_page_asks_for_nothing_from_outside(page):
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert not re.findall("url\\(", page)


def test_names_are_text_everywhere(folder):
    text = (folder / "all.html").read_text()
    assert "document.title='owned'</script>" not in text
    assert "<img" not in text
    assert text.count("<script") == 1


def test_a_score_of_zero_is_a_score(tmp_path):
    untuned = make_result("untuned", "rte", rows=60)
    untuned.test = {"score": 0.0, "choice": 0.0, "parts": {"accuracy": 0.0}, "rows": [("1", "0")] * 60}
    write_all(tmp_path, [untuned])
    assert '<td data-value="0">' in build_report(tmp_path, format="html")


def test_a_table_lists_its_runs(page):
    (found, *_) = re.findall("<summary>All runs.*?</table>.*?</details>", page, re.DOTALL)
    assert found.count("<tr>") == 1 + 3 * 2 * 2 + 1, "the heading; methods, tasks and seeds; one failed"


def test_costs_come_first_with_the_front_and_superscripts(tmp_path):
    results = grid(["lora", "krona_b_res", "full"], ["rte"], [0, 1], rows=40)
    for result, score in zip(results, (50.0, 90.0, 74.9, 75.1, 71.0, 72.0), strict=True):
        with_score(result, score).peak_memory = {"host": 1_000_000_000 if result.method == "lora" else 2_000_000_000}
    write_all(tmp_path, results)
    page = build_report(tmp_path, format="html")
    costs = ["trainable parameters", "training time", "peak memory"]
    assert titles(page) == [f"Score against {cost}" for cost in costs]
    assert page.index("Score against cost") < page.index("<table"), "the charts come before the table"
    charts = page
    assert "KronA<sup>B</sup><sub>res</sub>" in charts
    assert re.search(r"KronAᴮᵣₑₛ: 75.00 \(74.90 to 75.10\); 2; on the Pareto front", charts)
    assert charts.count('class="front"') == 1  # the other two costs of LoRA and KronA^B_res are equal


def test_a_sweep_begins_with_its_curve_and_a_comparison_with_the_differences(tmp_path):
    shapes = ([[2, 384], [384, 2]], [[12, 64], [64, 12]], [[96, 8], [8, 96]])
    write_all(tmp_path, [make_result("krona", "rte", change={"method.kron_factors": shape}) for shape in shapes])
    assert titles(build_report(tmp_path, format="html"))[0] == "Score against kron_factors"
    write_all(tmp_path, grid(["lora", "full", "pa", "bitfit"], ["rte"], [0]))
    first, second, *_ = titles(build_report(tmp_path, format="html"))
    assert (first, second) == ("RTE: difference to LoRA", "Score against kron_factors")


def test_the_chart_of_differences_says_what_limits_it(tmp_path):
    runs = grid(["lora", "krona"], ["rte"], (0, 1))
    for run in runs:
        set_answers(run, ["1", "0", "1", "1"], ["1", "0", "0", "1"])  # equal answers
    write_all(tmp_path / "two", runs)
    page = build_report(tmp_path / "two", format="html")
    assert "With fewer than 3 seeds, the interval is about these runs and not about the methods." in page
    assert "Not estimable: every example contributes equally to both scores" in page
    write_all(tmp_path / "three", grid(["lora", "krona"], ["rte"], (0, 1, 2)))
    page = build_report(tmp_path / "three", format="html")
    assert "With fewer than 3 seeds, the interval" not in page
    assert "Not estimable" not in page


@pytest.mark.parametrize("methods", [["full", "bitfit", "layer_norm"], ["untuned", "lora"]])
def test_every_kind_of_row_has_charts(tmp_path, methods):
    results = [make_result(method, "rte", rows=40) for method in methods]
    for result in results:
        if result.method == "untuned":
            result.trainable_params, result.trainable_percent, result.times["train"] = 0, 0.0, 0.0
    write_all(tmp_path, results)
    assert titles(build_report(tmp_path, format="html"))


def test_no_chart_of_one_point(tmp_path):
    write_all(tmp_path, [make_result("lora", "rte", 0, rows=40, epochs=1)])
    assert titles(build_report(tmp_path, format="html")) == []


SORT = """
    const column = () => [...page.querySelector('table[data-table="0"]').tBodies[0].rows]
        .map((row) => row.cells[3].dataset.value ?? null);
    const press = (number) => page.querySelector(`table[data-table="0"] button[data-sort="${number}"]`).click();
    const seen = [column()];
    for (const number of [3, 3, 0]) { press(number); seen.push(column()) }
    return seen"""
LOOK = """
    const overflow = () => page.documentElement.scrollWidth - page.documentElement.clientWidth;
    const folded = overflow();
    for (const one of page.querySelectorAll("details")) one.open = true;
    const links = [...page.querySelectorAll('a[href^="#"]')];
    return {
        overflow: [folded, overflow()], title: page.title, text: page.body.innerText,
        broken: links.filter((link) => !page.querySelector(link.hash)).length,
        background: view.getComputedStyle(page.body).backgroundColor,
        label: view.getComputedStyle(page.querySelector(".chart text")).fill,
    }"""


@pytest.mark.skipif(not BROWSER, reason="Chromium was not found: install the package `chromium`")
@pytest.mark.slow
class TestInChromium:
    def test_sorting_by_a_column_and_back(self, folder, tmp_path):
        before, down, up, after = run_in_browser(folder / "report.html", SORT, tmp_path)
        numbers = [float(value) for value in down if value is not None]
        assert numbers == sorted(numbers, reverse=True)
        assert down[len(numbers) :] == [None] * (len(down) - len(numbers)), "what is missing stays last"
        assert [float(value) for value in up if value is not None] == sorted(numbers)
        assert after == before

    @pytest.mark.parametrize(
        ("name", "width", "dark"),
        [("report", 400, True), ("all", 400, False), ("report", 1280, False), ("all", 1280, True)],
    )
    def test_it_fits_the_width_and_follows_the_scheme(self, folder, tmp_path, name, width, dark):
        found = run_in_browser(folder / f"{name}.html", LOOK, tmp_path, width=width, dark=dark)
        assert max(found["overflow"]) <= 0
        assert (found["background"] == "rgb(253, 253, 251)") is not dark
        assert (found["label"] == "rgb(92, 98, 109)") is not dark, "charts too"
        assert found["title"].endswith("· krona"), "no script of a name has changed it"
        assert found["broken"] == 0
        assert "Could not be used (1)" in found["text"]
        assert "loss is nan at step 12" not in found["text"], "errors of runs may quote a row"
