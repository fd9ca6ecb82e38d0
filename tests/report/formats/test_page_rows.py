"""Test reports with every kind of row in Chromium: they show the plots, without an error and without a request."""

import pytest

from krona.report.build import build_report
from report.browser import chromium, needs_browser
from report.generate import make_result, write_all

pytestmark = [pytest.mark.slow, needs_browser]
ADDED = {"full": 0, "bitfit": 0, "layer_norm": 0, "lora": 2_400_000, "krona": 90_000}  # multiply-adds for one token
PLOTS = """return [...document.querySelectorAll("figure svg, figure img")].map((one) => one.getBoundingClientRect())
    .filter((box) => box.width > 100 && box.height > 60).length"""


def result(method, seed=0, **kwargs):
    made = make_result(method, "rte", seed, rows=40, **kwargs)
    if made.status == "done" and method in ADDED:
        made.provenance |= {"multiply_adds": ADDED[method], "launches": 48 if ADDED[method] else 0}
    return made


def untuned():
    made = result("untuned", epochs=0)
    made.trainable_params, made.trainable_percent, made.best_epoch = 0, 0.0, 0
    made.times |= {"train": 0.0}
    return made


def equal_costs():
    made = [result(method, seed) for method in ("lora", "krona") for seed in (0, 1)]
    for one in made:
        one.times |= {"train": 72.0}
        one.provenance |= {"multiply_adds": 5_000, "launches": 48}
    return made


REPORTS = {
    "full": lambda: [result("full"), result("lora")],
    "bitfit": lambda: [result("bitfit"), result("lora"), result("krona")],
    "layer_norm": lambda: [result("layer_norm"), result("krona", 0), result("krona", 1)],
    "all_add_nothing": lambda: [result("full"), result("bitfit"), result("layer_norm")],
    "untuned": lambda: [untuned(), result("lora")],
    "a_failed_run": lambda: [result("full", status="failed"), result("lora"), result("krona")],
    "one_run": lambda: [result("krona")],
    "one_row": lambda: [result("full", seed) for seed in (0, 1, 2)],
    "equal_costs": equal_costs,
}


@pytest.fixture
def browser(tmp_path_factory):  # a new browser for each test, because a page that hangs must not affect the next test
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.mark.parametrize("kind", REPORTS)
def test_the_page_opens_with_its_plots(kind, browser, tmp_path):
    write_all(tmp_path, REPORTS[kind]())
    page = tmp_path / "report.html"
    build_report(tmp_path, format="html", out=page)
    browser.open(page)
    assert browser.run(PLOTS) > 0
    assert browser.console() == []
    assert browser.requests() == [page.as_uri()]
