"""Test the numbers of the paper for consistency, and the errors of the code that reads them."""

import pytest

from krona.messages import KronaError
from krona.paper import RECIPE_TABLES, TABLES, TASKS, read_paper_table, read_recipes
from krona.report.layouts import find_layout

WITH_TASKS = ("1", "4", "5", "8")
# Maps (table, row) to the correct mean, for rows whose printed average differs from the rounded mean.
ERRATA = {("8", "adapter"): 0.73625, ("8", "krona"): 0.75625}


@pytest.mark.parametrize("number", WITH_TASKS)
def test_averages_come_out_of_their_rows_but_for_the_named_errata(number):
    table = read_paper_table(number)
    wrong = {}
    for row in table.rows:
        average = sum(table.rows[row][task] for task in TASKS) / len(TASKS)
        if abs(average - table.value(row, "avg")) >= 0.0055:
            wrong[number, row] = average
    errata = {key: mean for key, mean in ERRATA.items() if key[0] == number}
    assert wrong == {key: pytest.approx(mean) for key, mean in errata.items()}
    notes = " ".join(find_layout(number, None).notes)
    assert all(f"the printed scores give {mean}." in notes for mean in errata.values())


def test_cells_are_counts_of_the_test_sets_that_the_protocol_gives():
    table = read_paper_table("1")
    for task, rows in (("sst2", 872), ("rte", 139)):
        for method in table.rows:
            right = table.value(method, task) * rows / 100
            assert abs(right - round(right)) * 100 / rows < 0.01, (task, method)  # KronA's 94.266 is printed as 94.26


def test_tables_agree_where_they_print_the_same_thing():
    one, two, seven, eight = (read_paper_table(n) for n in "1278")
    assert set(one.rows) == set(two.rows) == set(eight.rows)
    for method in one.rows:
        assert two.value(method, "training_time") == pytest.approx(100 * eight.value(method, "avg"))
    assert seven.value("linear", "avg") == one.value("krona_b_res", "avg")
    assert read_paper_table("6").value("silu", "qnli") == read_paper_table("5").value("ps_silu", "qnli")
    four = read_paper_table("4")
    same = [t for t in TASKS if four.value("kaiming_uniform", t) == one.value("krona", t)]
    assert same == ["cola", "rte", "mrpc", "qqp"]


def test_every_table_is_read_and_an_unknown_or_damaged_one_is_named(tmp_path):
    assert all(read_paper_table(number).rows for number in TABLES)
    with pytest.raises(KronaError, match="no table '3' of results"):
        read_paper_table("3")
    (tmp_path / "table1.csv").write_text("method,params,cola\nfull,100\n")
    with pytest.raises(KronaError, match=r"table1\.csv does not contain"):
        read_paper_table("1", tmp_path)
    with pytest.raises(KronaError, match=r"table2\.csv does not contain"):
        read_paper_table("2", tmp_path)


def test_the_stored_recipes_are_those_of_tables_10_to_18() -> None:
    recipes = read_recipes()
    assert {method for method, _ in recipes} == {*RECIPE_TABLES.values()}
    assert len(recipes) == len(RECIPE_TABLES) * len(TASKS)
    assert recipes["krona", "mnli"] == {
        "optimizer.lr": "0.001", "method.kron_factors": "2x384", "method.scaling": "1", "batch_size": "100",
        "trainer.max_epochs": "20", "optimizer.warmup_steps": "500",
    }  # fmt: skip
