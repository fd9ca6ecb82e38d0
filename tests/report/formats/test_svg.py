"""The SVG for a README: well formed, one row a method, names as text."""

from xml.etree import ElementTree

from krona.report.build import build_report
from krona.report.formats.svg.pieces import ticks
from krona.report.palette import slot
from report.generate import grid, make_result, write_all

SVG = "{http://www.w3.org/2000/svg}"


def drawn(outputs, **kwargs):
    return ElementTree.fromstring(build_report(outputs, format="svg", **kwargs))


def test_a_point_a_method_and_a_ring_for_the_paper(tmp_path):
    write_all(tmp_path, grid(["lora", "krona", "krona_b_res"], ["rte"], [0, 1], rows=60))
    root = drawn(tmp_path, table="1")
    assert len(root.findall(f"{SVG}circle[@class='mark']")) == 3
    assert len(root.findall(f"{SVG}circle[@class='ring']")) == 3
    words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert "KronABres" in words
    assert any(word.startswith("2 seeds") for word in words)
    for line in root.findall(f"{SVG}line"):
        if line.get("class") == "line":
            continue
        assert 150 <= float(line.get("x1")) <= float(line.get("x2")) <= 640


def test_no_ring_where_the_papers_number_does_not_belong(tmp_path):
    write_all(tmp_path, grid(["lora", "krona"], ["sample_rte"], [0], rows=60, backbone="nano"))
    root = drawn(tmp_path, table="1")
    assert root.findall(f"{SVG}circle[@class='ring']") == []
    assert "not GLUE" in "".join(root.itertext())


def test_one_value_without_an_interval_has_an_axis():
    for value in (0.0, 50.0, -12.5):
        first, *_, last = ticks(value, value)
        assert first < value < last


def test_without_runs_it_says_so_and_names_are_text(tmp_path):
    assert "krona table 1" in "".join(drawn(tmp_path, table="1").itertext())
    write_all(tmp_path, [make_result("<b>&mine", "rte", 0)])
    assert "<b>&mine" in "".join(drawn(tmp_path).itertext())


def test_methods_of_several_sizes_are_lines_over_parameters(tmp_path):
    results = []
    for size, skill in ((1, 0.6), (4, 0.7), (16, 0.9)):
        for method, change in (("lora", {"method.rank": size}), ("krona", {"method.terms": size})):
            for seed in (0, 1):
                one = make_result(method, "rte", seed, rows=60, sweep="ranks", skill=skill, change=change)
                one.trainable_params = 47_616 + size * 110_592
                results.append(one)
    write_all(tmp_path, results)
    root = drawn(tmp_path, sweep="ranks")
    lines = [path.get("d") for path in root.findall(f"{SVG}path") if "stroke" in path.get("class")]
    assert [line.count("L") for line in lines] == [2, 2], "a line of three sizes for each of two methods"
    words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert {"LoRA", "KronA", "158k", "490k", "1.82M"} <= set(words)
    assert "trainable parameters, logarithmic" in words
    assert "RTE test, score (0–100)" in words
    bars = [line for line in root.findall(f"{SVG}line") if "stroke" in line.get("class")]
    assert len(bars) == 6, "an interval over seeds at each point"
    assert "!" not in words
    results[0].splits["train"]["targets"] = {"1": 24}
    write_all(tmp_path, results[:1])
    words = ["".join(text.itertext()) for text in drawn(tmp_path, sweep="ranks").iter(f"{SVG}text")]
    assert words.count("!") == 1
    assert any(word.startswith("! LoRA (rank=1) on RTE: all training rows (24) have the target") for word in words)


def test_an_average_has_as_many_seeds_as_its_task_with_the_fewest(tmp_path):
    write_all(tmp_path, [*grid(["lora", "krona"], ["rte", "cola"], [0, 1], rows=60), make_result("krona", "rte", 2)])
    root = drawn(tmp_path)
    words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert words[0].startswith("Mean of 2")
    assert words[1].startswith("2 seeds.")


def test_a_row_far_below_the_others_does_not_squeeze_them(tmp_path):
    write_all(tmp_path, grid(["lora", "krona"], ["rte"], [0], rows=60))
    untuned = make_result("untuned", "rte", rows=60, skill=-2.0)
    write_all(tmp_path, [untuned])
    root = drawn(tmp_path)
    assert len(root.findall(f"{SVG}circle[@class='mark']")) == 2
    assert len(root.findall(f"{SVG}path[@class='mark']")) == 1, "an arrow towards it"
    assert f"{untuned.test['score']:.2f}" in "".join(root.itertext())


def test_an_interval_that_leaves_the_axis_ends_in_an_arrow(tmp_path):
    results = grid(["lora", "krona"], ["rte"], [0, 1], rows=60)
    for result, score in zip(results, (60.0, 80.0, 72.99, 73.01), strict=True):  # LoRA ±127, KronA ±0.13
        result.test["score"] = score
        result.test.pop("outcomes")
    write_all(tmp_path, results)
    root = drawn(tmp_path)
    arrows = [one for one in root.findall(f"{SVG}path") if one.get("class") == "beyond"]
    assert len(arrows) == 2, "both ends of LoRA's, none of KronA's"
    colour = f"var(--c{slot('lora')})"
    assert all(colour in one.get("style") for one in arrows)
    assert "Arrow: the interval" in "".join(root.itertext())


def test_methods_of_equal_size_stand_at_one_place(tmp_path):
    results = []
    for size, skill in ((8_000, 0.6), (16_000, 0.9)):
        for method, change in (("lora", {"method.rank": size}), ("krona", {"method.terms": size})):
            one = make_result(method, "rte", 0, rows=60, sweep="ranks", skill=skill, change=change)
            one.trainable_params = size
            results.append(one)
    write_all(tmp_path, results)
    root = drawn(tmp_path, sweep="ranks")
    places = [path.get("transform").split("(")[1].split(",")[0] for path in root.findall(f"{SVG}path[@class='fill']")]
    assert len(places) == 4
    low, high = sorted({float(place) for place in places})
    assert high - low < 0.4 * 558, "a factor of two is a third of a decade"


def test_shapes_of_nearly_one_size_are_rows_and_not_a_line_over_parameters(tmp_path):
    shapes = ([[2, 384], [384, 2]], [[12, 64], [64, 12]], [[24, 32], [32, 24]])
    results = [make_result("krona", "rte", 0, rows=60, change={"method.kron_factors": shape}) for shape in shapes]
    for i, result in enumerate(results):
        result.trainable_params = 8_040 + 215 * i
    write_all(tmp_path, results)
    root = drawn(tmp_path)
    assert len(root.findall(f"{SVG}circle[@class='mark']")) == 3
    small = [path for path in root.findall(f"{SVG}path") if path.get("class") in ("fill", "stroke hollow")]
    places = [float(path.get("transform").split("(")[1].split(",")[0]) for path in small[:3]]
    assert max(places) - min(places) < 0.05 * 558, "5 % of a size is not drawn over the whole axis"


def test_costs_stand_side_by_side_with_the_front(tmp_path):
    results = grid(["lora", "krona"], ["rte"], [0, 1], rows=60)
    for result in results:
        result.trainable_params = 1_000 if result.method == "lora" else 2_000
        result.peak_memory = {"host": 10**9 if result.method == "lora" else 2 * 10**9}
    write_all(tmp_path, results)
    root = drawn(tmp_path)
    words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert {"trainable parameters, log.", "training time (s)", "peak memory (GB)"} <= set(words)
    assert len(root.findall(f"{SVG}path[@class='front']")) == 3
    assert "LoRA 100 %" in words, "nothing is as cheap"
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert any(title.startswith("KronA, on the front: ") for title in titles)


def test_rows_of_one_budget_and_many_ranks_are_drawn_against_rank(tmp_path):
    shapes = ([[2, 384], [384, 2]], [[3, 256], [256, 3]], [[12, 64], [64, 12]], [[24, 32], [32, 24]])
    results = [make_result("krona", "rte", 0, rows=60, change={"method.kron_factors": shape}) for shape in shapes]
    for result, rank in zip(results, (4, 9, 144, 576), strict=True):
        result.trainable_params = 8_000
        result.provenance["update_rank"] = rank
        result.learned = {"effective_rank": rank / 2, "stable_rank": 1.0, "norm": 1.0, "drift": 1.0, "places": {}}
    write_all(tmp_path, results)
    root = drawn(tmp_path)
    words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert {"highest rank, log.", "learned effective rank, log."} <= set(words)
    assert not {"trainable parameters, log.", "peak memory (GB)"} & set(words)
    assert "Lower pictures: all rows train as many parameters." in "".join(root.itertext())
    marks = [path for path in root.findall(f"{SVG}path") if path.get("class") == "fill"][:4]
    places = [float(path.get("transform").split("(")[1].split(",")[0]) for path in marks]
    assert places == sorted(places)
    for result in results[:2]:
        result.trainable_params = 16_000
    write_all(tmp_path, results)
    words = ["".join(text.itertext()) for text in drawn(tmp_path).iter(f"{SVG}text")]
    assert "trainable parameters, logarithmic" in words, "two budgets: the parameters are the question"


def test_one_row_is_told_and_not_drawn(tmp_path):
    write_all(tmp_path, [make_result("lora", "rte", 0, rows=60)])
    root = drawn(tmp_path)
    assert root.findall(f"{SVG}circle") == root.findall(f"{SVG}line") == []
    assert "LoRA" in ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]


def test_a_score_far_below_the_others_is_an_arrow_and_does_not_stretch_the_costs_axis(tmp_path):
    skills = {"lora": 0.80, "krona": 0.82, "bitfit": 0.84, "untuned": 0.02}
    results = [make_result(method, "rte", rows=400, skill=skill) for method, skill in skills.items()]
    for number, result in enumerate(results):
        result.trainable_params = 1_000 * (number + 1)
    write_all(tmp_path, results)
    root = drawn(tmp_path)
    arrows = [group for group in root.iter(f"{SVG}g") if group.find(f"{SVG}path[@class='beyond']") is not None]
    assert {group.find(f"{SVG}title").text for group in arrows} == {"Untuned"}
    places = {}
    for path in root.iter(f"{SVG}path"):
        if (title := path.find(f"{SVG}title")) is not None:
            places[title.text] = float(path.get("transform").split(",")[1].rstrip(")"))
    assert set(places) == {"LoRA", "KronA", "BitFit"}
    assert max(places.values()) - min(places.values()) > 30, "of 150 pixels"


def test_the_range_of_two_seeds_fits_beside_the_axis(tmp_path):
    write_all(tmp_path, grid(["lora", "krona"], ["rte"], [0, 1], rows=60))
    ranges = [text for text in drawn(tmp_path).iter(f"{SVG}text") if "…" in "".join(text.itertext())]
    assert len(ranges) == 2
    for text in ranges:
        assert float(text.get("x")) + 7.5 * len("".join(text.itertext())) <= 760
