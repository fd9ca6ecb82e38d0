"""Test the SVG of a report: it is well formed, with one row for each method, the costs below, and names as text."""

from krona.report.build import build_report
from report.generate import grid, make_result, write_all
from report.test_charts import marks, words


def drawn(outputs, **kwargs):
    return build_report(outputs, format="svg", **kwargs)


def test_a_row_for_each_method_and_a_ring_for_the_paper(tmp_path):
    write_all(tmp_path, grid(["lora", "krona", "krona_b_res"], ["rte"], [0, 1], rows=60))
    svg = drawn(tmp_path, table="1")
    assert {"LoRA", "KronA", "KronAᴮᵣₑₛ"} <= set(words(svg))
    assert sum(text.startswith("the paper: ") for text in marks(svg)) == 3
    assert any(word.startswith("2 seeds") for word in words(svg))
    assert "the range of two" in " ".join(words(svg))
    assert "prefers-color-scheme:dark" in svg
    write_all(tmp_path / "sample", grid(["lora", "krona"], ["sample_rte"], [0], rows=60, backbone="nano"))
    sample = drawn(tmp_path / "sample", table="1")
    assert not any(text.startswith("the paper: ") for text in marks(sample))
    assert "not GLUE" in " ".join(words(sample))


def test_without_runs_it_says_so_and_names_are_text(tmp_path):
    assert "krona table 1" in " ".join(words(drawn(tmp_path, table="1")))
    write_all(tmp_path, [make_result("<b>&mine", "rte", 0)])
    assert "<b>&mine" in words(drawn(tmp_path))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "result.json").write_text("{")
    assert "1 file could not be used." in " ".join(words(drawn(tmp_path)))


def sizes(*points):
    """Return results of LoRA and KronA for each pair (number of parameters, skill) of ``points``."""
    found = []
    for i, (params, skill) in enumerate(points):
        for method, change in (("lora", {"method.rank": 2**i}), ("krona", {"method.terms": 2**i})):
            for seed in (0, 1):
                one = make_result(method, "rte", seed, rows=60, sweep="ranks", skill=skill, change=change)
                one.trainable_params = params
                found.append(one)
    return found


def test_methods_of_several_sizes_are_lines_over_parameters(tmp_path):
    write_all(tmp_path, results := sizes((158_208, 0.6), (489_984, 0.7), (1_817_088, 0.9)))
    assert drawn(tmp_path, sweep="ranks").count('class="interval"') == 6
    write_all(
        tmp_path, [make_result("bitfit", "rte", 0, rows=60, sweep="ranks")]
    )  # a single size has its name beside it
    chart = words(drawn(tmp_path, sweep="ranks"))
    assert {"LoRA", "KronA", "BitFit", "158k", "490k", "1.82M", "trainable parameters, log."} <= set(chart)
    assert "!" not in " ".join(chart)
    results[0].splits["train"]["targets"] = {"1": 24}
    write_all(tmp_path, results[:1])
    assert any(
        word.startswith("! LoRA (rank=1) on RTE: all training") for word in words(drawn(tmp_path, sweep="ranks"))
    )


def test_an_average_has_as_many_seeds_as_its_task_with_the_fewest(tmp_path):
    write_all(tmp_path, [*grid(["lora", "krona"], ["rte", "cola"], [0, 1], rows=60), make_result("krona", "rte", 2)])
    title, seeds, *_ = words(drawn(tmp_path))
    assert title.startswith("Mean of 2")
    assert seeds.startswith("2 seeds.")


def test_rows_of_one_budget_and_many_ranks_are_drawn_against_rank(tmp_path):
    shapes = ([[2, 384], [384, 2]], [[3, 256], [256, 3]], [[12, 64], [64, 12]], [[24, 32], [32, 24]])
    results = [make_result("krona", "rte", 0, rows=60, change={"method.kron_factors": shape}) for shape in shapes]
    for result, rank in zip(results, (4, 9, 144, 576), strict=True):
        result.trainable_params = 8_000
        result.provenance["update_rank"] = rank
        result.learned = {"effective_rank": rank / 2, "stable_rank": 1.0, "norm": 1.0, "drift": 1.0, "places": 1}
    write_all(tmp_path, results)
    shown = words(svg := drawn(tmp_path))
    assert {"highest rank of the update, log.", "effective rank of the update, log."} <= set(shown)
    assert not {"trainable parameters, log.", "peak memory (GB)"} & set(shown)
    places = {text.rpartition("rank ")[2]: x for text, (x, _) in marks(svg).items() if "; rank " in text}
    assert places["4.0"] < places["9.0"] < places["144.0"] < places["576.0"]
    for result in results[:2]:
        result.trainable_params = 16_000
    write_all(tmp_path, results)
    assert "trainable parameters, log." in words(drawn(tmp_path)), "two budgets: the parameters are the question"
