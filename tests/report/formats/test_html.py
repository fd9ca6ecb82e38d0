"""The page in a real browser: no console error, sorting, cells, links, keyboard, narrow and dark."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from krona.outputs import index
from krona.outputs.result import outcomes
from krona.report.build import build_report, collect
from krona.report.formats.html.data import page_data
from report.browser import BROWSER, FLAGS, chromium, needs_browser
from report.generate import grid, make_result, write_all, write_thousand

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("outputs")
    results = grid(["full", "lora", "krona", "krona_b_res"], ["rte", "stsb", "cola"], [0, 1], rows=80)
    for shape in ([[2, 384], [384, 2]], [[12, 64], [64, 12]]):
        results.append(make_result("krona", HOSTILE, 0, kind="own", change={"method.kron_factors": shape}))
    results.append(make_result("lora", "mrpc", status="failed"))
    write_all(outputs, results)
    (outputs / "broken").mkdir()
    (outputs / "broken" / "result.json").write_text("{")
    build_report(outputs, table="1", format="html", out=outputs / "report.html")
    build_report(outputs, format="html", out=outputs / "all.html")
    return outputs


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


def test_the_page_asks_for_nothing_from_outside(folder):
    text = (folder / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    assert "default-src 'none'" in text
    assert "@import" not in text


def test_names_are_text_everywhere(folder):
    text = (folder / "all.html").read_text()
    assert "document.title='owned'</script>" not in text
    assert "<img" not in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert json.loads(data[1])["tables"]


def test_a_score_of_zero_is_a_score(tmp_path):
    untuned = make_result("untuned", "rte", rows=60)
    wrong = outcomes(["1"] * 60, ["0"] * 60)
    untuned.test = {"score": 0.0, "choice": 0.0, "parts": {"accuracy": 0.0}, "outcomes": wrong}
    write_all(tmp_path, [untuned])
    (row,) = page_data(collect(tmp_path), None)["tables"][0]["rows"]
    assert row["cells"]["rte"]["v"] == 0


@needs_browser
class TestPictures:
    """What the script draws, as chromium leaves it in the page."""

    @staticmethod
    def made(outputs, **kwargs):
        build_report(outputs, format="html", out=outputs / "report.html", **kwargs)
        command = [BROWSER, *FLAGS, f"--user-data-dir={outputs / 'profile'}", "--dump-dom"]
        command.append((outputs / "report.html").as_uri())
        text = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        return text[text.index('id="plot-area"') : text.index('<dialog id="details"')]

    def test_costs_first_with_the_front_arrows_and_superscripts(self, tmp_path):
        results = grid(["lora", "krona_b_res", "full"], ["rte"], [0, 1], rows=40)
        for result, score in zip(results, (50.0, 90.0, 74.9, 75.1, 71.0, 72.0), strict=True):
            result.test["score"] = score
            result.test.pop("outcomes")
            result.peak_memory = {"host": 1_000_000_000 if result.method == "lora" else 2_000_000_000}
            result.provenance |= {"launches": 36 if result.method == "lora" else 48, "update_rank": len(result.method)}
            result.learned = {"effective_rank": len(result.method) / 2}
        write_all(tmp_path, results)
        area = self.made(tmp_path)
        titles = re.findall(r"<figcaption>(.*?) <small>", area)
        costs = ["Score against parameters", "Score against training time", "Score against peak memory"]
        assert titles[:3] == costs
        assert {"Score against launches", "Score against rank of the update", "Score against effective rank"} <= {
            *titles
        }
        assert area.index("Score against other costs") < area.index("Score against launches")
        assert "KronA<sup>B</sup><sub>res</sub>" in area
        assert "KronA^B" not in area
        for words in (
            "training time (s)",
            "peak memory (GB)",
            "trainable parameters, logarithmic",
            "RTE, score (0–100)",
        ):
            assert words in area
        assert area.count('class="front"') >= 1
        first = area.split("<figure")[1]
        assert first.count('class="beyond"') == 2, "both ends of LoRA's interval"
        assert re.search(r"KronAᴮᵣₑₛ: 75.00 \(.*?\); 158,208 parameters; on the front: \d+ %", first)
        assert "bootstrap draws" in area

    def test_no_plot_of_one_point(self, tmp_path):
        write_all(tmp_path, [make_result("lora", "rte", 0, rows=40, epochs=1)])
        area = self.made(tmp_path)
        assert "<figure" not in area


@needs_browser
@pytest.mark.slow
class TestInChromium:
    def test_no_console_error_and_no_script_from_a_name(self, browser, folder):
        for name in ("report.html", "all.html"):
            browser.open(folder / name)
            assert browser.console() == []
        title = browser.run("return document.title")
        assert re.fullmatch(r"All runs: .* on .* · krona", title), title

    def test_sorting_by_a_column_and_back(self, browser, folder):
        browser.open(folder / "report.html")
        column = """const t = document.querySelector('table[data-table="0"]');
            return [...t.tBodies[0].rows].map((row) => row.cells[3].dataset.value ?? null)"""
        press = """document.querySelector('table[data-table="0"] button[data-sort="3"]').click()"""
        before = browser.run(column)
        browser.run(press)
        down = browser.run(column)
        numbers = [float(value) for value in down if value is not None]
        assert numbers == sorted(numbers, reverse=True)
        assert down[len(numbers) :] == [None] * (len(down) - len(numbers)), "what is missing stays last"
        browser.run(press)
        up = [float(value) for value in browser.run(column) if value is not None]
        assert up == sorted(numbers)
        assert browser.run("return document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "ascending"
        browser.run("""document.querySelector('table[data-table="0"] button[data-sort="0"]').click()""")
        assert browser.run(column) == before

    def test_a_cell_opens_its_runs_down_to_result_json(self, browser, folder):
        browser.open(folder / "report.html")
        browser.run("""document.querySelector('[data-cell="0,6,rte"]').click()""")
        body = browser.run("return document.getElementById('details').innerText")
        for part in ("KronA, RTE", "Compared with", "predictions differ in", "of 80 test examples", "method.name",
                     "code 0123456789abcdef", "torch 2.13.0"):  # fmt: skip
            assert part in body
        assert browser.run("return document.querySelectorAll('#details-body svg').length") > 0
        links = browser.run("return [...document.querySelectorAll('#details a')].map((a) => a.href)")
        assert len(links) == 2
        for link in links:
            assert json.loads((folder / link.split("/")[-2] / "result.json").read_text())["method"] == "krona"
        browser.run(
            "const s = document.getElementById('compare'); s.selectedIndex = 0; s.dispatchEvent(new Event('change'))"
        )
        browser.press("Escape")
        assert browser.run("return document.getElementById('details').open") is False
        assert browser.console() == []

    def test_a_missing_cell_says_what_to_type(self, browser, folder):
        browser.open(folder / "report.html")
        browser.run("""document.querySelector('[data-cell="0,1,rte"]').click()""")
        assert "krona table 1 method=bitfit task=rte" in browser.run(
            "return document.getElementById('details').innerText"
        )

    def test_by_keyboard_alone(self, browser, folder):
        browser.open(folder / "report.html")
        browser.run("""document.querySelector('[data-cell="0,0,rte"]').focus()""")
        browser.press("Enter")
        assert browser.run("return document.getElementById('details').open") is True
        browser.press("Escape")
        browser.press("Tab")
        assert browser.run("return document.activeElement.dataset.cell") == "0,0,mrpc"
        browser.run("document.querySelector('#plot-area [role=button]').focus()")
        browser.press("Enter")
        assert browser.run("return document.getElementById('details').open") is True

    def test_pictures_follow_the_choice(self, browser, folder):
        browser.open(folder / "all.html")
        titles = "return [...document.querySelectorAll('figcaption')].map((one) => one.firstChild.textContent)"
        assert "Score against parameters" in browser.run(titles)
        browser.run(
            "const s = document.getElementById('pick-table'); s.selectedIndex = 1; s.dispatchEvent(new Event('change'))"
        )
        assert {"Dev score by epoch", "Score by shape of A", "Score against rank of the update"} <= set(
            browser.run(titles)
        )
        assert browser.console() == []

    @pytest.mark.parametrize("width", [400, 1280])
    @pytest.mark.parametrize("dark", [False, True])
    def test_it_fits_the_width_and_follows_the_scheme(self, browser, folder, tmp_path, width, dark):
        browser.look(width=width, dark=dark)
        browser.open(folder / "report.html")
        assert browser.run(OVERFLOW) <= 0
        light = browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(253, 253, 251)"
        assert light is not dark
        browser.screenshot(tmp_path / "page.png")
        assert (tmp_path / "page.png").stat().st_size > 20_000

    def test_each_row_has_a_mark_of_its_own_up_to_48(self, browser, folder):
        browser.open(folder / "report.html")
        looks = "return new Set([...Array(48).keys()].map((i) => color(i) + markOf(i))).size"
        assert browser.run(looks) == 48

    def test_a_run_takes_one_line_on_a_narrow_screen(self, browser, folder):
        browser.look(width=400)
        browser.open(folder / "report.html")
        browser.run("""document.querySelector('[data-cell="0,6,rte"]').click()""")
        heights = browser.run(
            "return [...document.querySelectorAll('#details td.id')].map((cell) => cell.clientHeight)"
        )
        assert len(heights) == 2
        assert max(heights) < 40

    def test_an_axis_has_at_least_three_marks(self, browser, folder):
        browser.open(folder / "report.html")
        for ends in ((0, 106), (-5, 85), (55, 61), (0.2, 0.9)):
            assert len(browser.run("return ticks(...arguments)", *ends)) >= 3
        assert len(browser.run("return logTicks(12000, 99300)")) >= 3

    def test_sixteen_shapes_are_all_named(self, browser, folder):
        browser.open(folder / "report.html")
        drawn = """const names = [...Array(16).keys()].map((i) => `${i}x384`);
            const { svg } = frame("shapes", [0, 15], [0, 1], { names });
            return [...svg.querySelectorAll("text")].filter((one) => names.includes(one.textContent)).length"""
        assert browser.run(drawn) == 16

    def test_table_1_fits_a_sheet_of_paper(self, browser, folder):
        browser.open(folder / "report.html")
        assert "@page { size: landscape; margin: 12mm; }" in (folder / "report.html").read_text()
        browser.printed(width=1031)  # A4 less the margins
        widths = browser.run("return [...document.querySelectorAll('table[data-table]')].map((one) => one.offsetWidth)")
        browser.look(width=1280)
        assert len(widths) > 1
        assert max(widths) <= 1031

    def test_anchors_lead_to_their_sections(self, browser, folder):
        browser.open(folder / "report.html")
        broken = """return [...document.querySelectorAll('a[href^="#"]')]
            .filter((a) => !document.querySelector(a.hash)).length"""
        assert browser.run(broken) == 0
        text = browser.run("return document.body.innerText")
        assert "Files that could not be used" in text
        assert "loss is nan at step 12" in text

    def test_a_thousand_runs(self, browser, tmp_path, monkeypatch):
        write_thousand(tmp_path)
        read: list[Path] = []
        reader = index.read_result
        monkeypatch.setattr(index, "read_result", lambda path: read.append(path) or reader(path))
        build_report(tmp_path, table="1", format="html", out=tmp_path / "report.html")
        size = (tmp_path / "report.html").stat().st_size
        assert size < 2_000_000
        assert sorted(read) == sorted(tmp_path.glob("*/result.json"))  # each once
        browser.open(tmp_path / "report.html")
        browser.run("""document.querySelector('[data-cell="0,6,avg"]').click()""")
        assert browser.run("return document.querySelectorAll('#details a').length") == 14 * 8
        assert browser.console() == []
        shutil.rmtree(tmp_path)
