"""Test the summary that a run prints at the end."""

from pathlib import Path

from krona.runs.description import describe_data, print_summary
from krona.runs.folder import RunState
from krona.runs.result import Result
from report.generate import make_result
from typed_run import printed


def said(result: Result, outputs: Path = Path("/outputs")) -> str:
    job = RunState(result.run_id, "done", outputs / result.run_id, result)
    return printed(lambda console: print_summary(job, console))


def test_data_of_glues_rows_is_glue_and_others_are_only_of_its_form() -> None:
    assert describe_data(make_result(change={"backbone.pretrained": False})) == "GLUE, random weights"
    assert describe_data(make_result(task="sample_rte", backbone="nano")) == "sample data (not GLUE)"
    result = make_result()
    assert describe_data(result) == "GLUE"
    assert "on 120 rows of GLUE\n" in said(result)
    result.provenance["official_rows"] = {"train": [2400, 2490], "validation": [120, 277]}
    assert "on 120 rows of GLUE's format, but 120 instead of 277 rows in validation\n" in said(result)
    del result.provenance["official_rows"]
    assert describe_data(result) == "GLUE"


def test_the_next_command_uses_the_weights_if_they_were_kept(tmp_path: Path) -> None:
    result = make_result()
    assert "This run kept no weights. Add keep=all" in said(result, tmp_path)
    (tmp_path / result.run_id).mkdir()
    (tmp_path / result.run_id / "adapter.safetensors").touch()
    assert f"{result.run_id} --input FILE\n" in said(result, tmp_path).partition("next: ")[2]
