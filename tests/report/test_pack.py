"""Test that a pack of runs gives the same report as the runs, without texts and paths."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from krona import results
from krona.messages import KronaError
from krona.report.build import build_report
from krona.runs.pack import pack, unpacked_folder
from krona.runs.result import write_result
from report.generate import grid, make_result, write_all

RESULTS = Path(__file__).parents[2] / "docs" / "results"
PLACE = {"data.path": "/home/me/glue/RTE", "backbone.path": "/home/me/t5"}


def made(outputs: Path) -> tuple[Path, list[str]]:
    """Return a pack of an outputs folder, and the ids of its finished runs. One run of the folder failed."""
    done = grid(["lora", "krona"], ["rte"], [0, 1], change=PLACE)
    write_all(outputs, [*done, make_result(seed=2, change=PLACE, status="failed")])
    (outputs / "sweeps").mkdir()
    (outputs / "sweeps" / "mine.runs.txt").write_text("".join(f"{one.run_id}\n" for one in done[:3]))
    file = outputs.parent / "runs.tar.xz"
    assert pack(outputs, file) == 4
    return file, sorted(one.run_id for one in done)


def test_a_pack_contains_no_text_and_no_path(tmp_path: Path) -> None:
    file, run_ids = made(tmp_path / "outputs")
    with tarfile.open(file) as archive:
        members = {name: archive.extractfile(name) for name in archive.getnames()}
        texts = {name: member.read().decode() for name, member in members.items() if member}
    runs = {f"{run_id}/{name}" for run_id in run_ids for name in ("result.json", "predictions.jsonl")}
    assert set(texts) == runs | {"sweeps/mine.runs.txt"}
    assert not any("sentence: number" in text or "/home" in text for text in texts.values())
    assert json.loads(texts[f"{run_ids[0]}/result.json"])["config"]["data"]["path"] is None


def test_a_report_without_runs_names_the_pack(tmp_path: Path) -> None:
    file, _ = made(tmp_path / "outputs")
    assert f"No finished run under {file} belongs".replace(" ", "") in "".join(build_report(file, table="9").split())


def test_a_folder_of_data_is_packed_by_name_and_the_other_columns_of_rows_are_left_out(tmp_path: Path) -> None:
    result = make_result("lora", kind="own", change={"task.files": "/home/me/films"})
    folder = tmp_path / "outputs" / result.run_id
    folder.mkdir(parents=True)
    write_result(folder, result)
    row = {"split": "test", "id": "test-0", "source": "a film", "target": "0", "prediction": "1", "line": 2}
    (folder / "predictions.jsonl").write_text(json.dumps({**row, "columns": {"customer": "Ann"}}) + "\n")
    assert pack(tmp_path / "outputs", tmp_path / "p.tar.xz") == 1
    with tarfile.open(tmp_path / "p.tar.xz") as archive:
        texts = [member.read().decode() for name in archive.getnames() if (member := archive.extractfile(name))]
    assert json.loads(texts[0])["config"]["task"]["files"] == {"train": "films"}
    assert not any(word in text for text in texts for word in ("/home/me", "Ann", "a film"))


def find_values(value: Any, key: str) -> list[Any]:
    inner = [one for item in value.values() for one in find_values(item, key)] if isinstance(value, dict) else []
    return inner + ([value[key]] if isinstance(value, dict) and key in value else [])


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.tar.xz")), ids=lambda file: file.name.partition(".")[0])
def test_the_published_packs_name_no_computer_and_no_folder(file: Path) -> None:
    found = [json.loads(path.read_bytes()) for path in unpacked_folder(file).glob("*/result.json")]
    assert found
    for result in found:
        assert "host" not in result["provenance"]
        assert not [path for path in find_values(result, "path") if "/" in str(path)]


def test_a_report_and_the_table_read_a_pack(tmp_path: Path) -> None:
    file, run_ids = made(tmp_path / "outputs")
    of_runs, of_pack = (build_report(place, sweep="mine", format="latex") for place in (tmp_path / "outputs", file))
    assert r"\begin{table}" in of_pack
    assert of_pack == of_runs
    assert [*results(file)["run_id"]] == run_ids
    page = build_report(file, format="html")
    assert run_ids[0] in page
    assert "krona-pack-" not in page, "no path of the temporary folder"


def test_a_wrong_pack_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(KronaError, match="no finished run"):
        pack(tmp_path, tmp_path / "runs.tar.xz")
    with pytest.raises(KronaError, match=r"must end in \.tar\.xz"):
        pack(tmp_path, tmp_path / "runs.zip")
    (tmp_path / "bad.tar.xz").write_text("no archive")
    with pytest.raises(KronaError, match=r"bad\.tar\.xz cannot be unpacked"):
        results(tmp_path / "bad.tar.xz")
