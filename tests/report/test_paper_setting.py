"""Test that the backbone and the rows, and never a name, decide what is compared with the paper's numbers."""

import re

import pytest

import one_job
from krona.paper import TASKS
from krona.report.build import collect
from krona.runs.description import (
    DATA_SETTINGS,
    T5_BASE_NAMES,
    T5_BASE_PARAMETERS,
    T5_BASE_SIZES,
    list_departures,
)
from report.generate import collected, make_result, write_all


def differences(report):
    return [cell.difference for table in report.tables for row in table.rows for cell in row.cells.values()
            if cell.difference is not None]  # fmt: skip


def test_the_setting_is_that_of_the_shipped_yamls() -> None:
    config = one_job.config()
    assert config["backbone"]["sizes"].items() <= T5_BASE_SIZES.items()
    assert T5_BASE_SIZES["num_decoder_layers"] == T5_BASE_SIZES["num_layers"]
    assert config["backbone"]["name"] in T5_BASE_NAMES
    assert {key: config["data"][key] for key in DATA_SETTINGS} == DATA_SETTINGS


def test_a_folder_of_t5_base_does_too_whatever_its_name(tmp_path) -> None:
    result = make_result(backbone="local", change={"backbone.path": "/elsewhere/mine"})
    result.provenance["backbone"] = make_result().provenance["backbone"]
    assert len(differences(collected(tmp_path, [result], table="1"))) == 1


@pytest.mark.parametrize(
    ("change", "found", "expected"),
    [
        ({"backbone.name": "someone/t5-base-tuned"}, "someone/t5-base-tuned", "google-t5/t5-base"),
        ({"data.seed": 7}, "7", "42"),
        ({"data.train_rows": 100}, "100", "all rows"),
        ({"data.protocol": "appendix_d1"}, "appendix_d1", "table1"),
        ({"backbone.path": "/elsewhere/t5_base"}, "15,600,000 parameters", f"{T5_BASE_PARAMETERS:,}"),
    ],
)
def test_what_departs_has_no_difference_and_the_warning_says_why(tmp_path, change, found, expected) -> None:
    result = make_result(change=change, backbone="local" if "backbone.path" in change else "t5_base")
    report = collected(tmp_path, [result], table="1")
    assert differences(report) == []
    assert re.search(rf"{found}\b.* {expected}\.", report.tables[0].warning)


def test_sizes_architecture_and_rows_are_named_with_both_numbers() -> None:
    result = make_result()
    result.provenance["backbone"]["sizes"]["d_ff"] = 2048
    result.provenance["official_rows"]["train"] = [100, 2490]
    result.splits["train"]["skipped_rows"] = 3
    found = [set(re.findall(r"[\w.]*\d[\d,]*", reason)) for reason in list_departures(result)]
    assert found == [{"2048", "T5", "3072"}, {"100", "2,490"}, {"3"}]
    result.provenance["backbone"]["architecture"] = "mt5"
    assert "mt5" in next(list_departures(result))


def test_a_run_that_has_not_finished_is_taken_for_what_its_config_says() -> None:
    failed = make_result(status="failed")
    del failed.provenance["backbone"], failed.provenance["official_rows"]
    assert [*list_departures(failed)] == []
    failed.config["data"]["seed"] = 7
    assert len([*list_departures(failed)]) == 1


def test_in_a_table_of_both_only_what_compares_has_a_difference(tmp_path) -> None:
    results = [make_result("krona"), make_result("lora", change={"data.seed": 7})]
    (table, *_) = collected(tmp_path, results, table="1").tables
    assert table.cell("krona", "rte").difference is not None
    assert (table.cell("lora", "rte").difference, table.cell("lora", "rte").paper) == (None, None)
    assert table.warning.startswith("1 run of 2 cannot be compared")


def few_rows(*arguments, **kwargs):
    result = make_result(*arguments, **kwargs)
    result.provenance["official_rows"] = {"train": [100, 2490], "validation": [60, 277]}
    return result


def test_other_rows_than_glues_are_a_section_of_their_own_in_every_heading(tmp_path) -> None:
    results = [make_result("krona"), few_rows("lora")]
    glue, other = (table.heading for table in collected(tmp_path, results).tables)
    assert glue == "GLUE on google-t5/t5-base"
    assert "100 instead of 2,490 rows in RTE's train" in other


def test_a_run_that_did_not_count_its_rows_yet_is_in_the_table_of_those_that_did(tmp_path) -> None:
    failed = make_result("lora", status="failed")
    del failed.provenance["official_rows"]
    write_all(tmp_path, [few_rows("krona"), failed])
    (table,) = (one for one in collect(tmp_path, table="1").tables if one.section)
    assert table.heading.startswith("GLUE's form")
    assert table.cell("lora", "rte").missing == "failed"
    write_all(tmp_path, [make_result("pa")])
    headings = [one.heading for one in collect(tmp_path, table="1").tables if one.section]
    assert len(headings) == 2
    assert headings[0] == "GLUE on google-t5/t5-base"


def test_a_mean_over_other_rows_than_glues_is_not_glues_average(tmp_path) -> None:
    report = collected(tmp_path, [few_rows("krona", task, rows=40) for task in TASKS], table="1")
    (table,) = (one for one in report.tables if one.section)
    assert [column.label for column in table.columns][-1] == "Mean of 8"


def test_a_missing_run_of_a_row_that_departs_is_made_in_the_papers_setting(tmp_path) -> None:
    seven = {"change": {"data.seed": 7}}
    results = [make_result("krona"), make_result("lora", **seven), make_result("pa", status="failed", **seven)]
    (table, *_) = collected(tmp_path, results, table="1").tables
    assert table.cell("lora", "cola").paper == 64.76


def test_recorded_departures_replace_the_check_of_the_config(tmp_path) -> None:
    """A later version of the check must not change what earlier runs recorded."""
    result = make_result()
    result.departures = ["the run was made on a Tuesday"]
    (table, _) = collected(tmp_path, [result], table="1").tables
    assert table.warning == "Not compared with the paper: the run was made on a Tuesday."


def test_rows_of_one_sweep_have_the_settings_that_the_sweep_varied(tmp_path) -> None:
    results = []
    for variant, change in (("wide", {"method.rank": 8, "method.alpha": 8}), ("thin", {"method.rank": 2})):
        result = make_result("lora", change=change, sweep="mine")
        result.row = {"label": f"LoRA (variant={variant})", "settings": {"variant": variant}}
        results.append(result)
    (table,) = collected(tmp_path, results).tables
    assert [row.name for row in table.rows] == ["LoRA (variant=thin)", "LoRA (variant=wide)"]
    results[0].config["sweep"] = "another"  # another command may have varied other settings
    (table,) = collected(tmp_path / "two", results).tables
    assert [row.settings["method.rank"] for row in table.rows] == ["2", "8"]
