"""The doctor on outputs/: what is damaged and what dead processes have left is found; --fix removes only the latter."""

import os
from pathlib import Path

import pytest

from doctor.outputs_folder import aged, claimed, dead_pid, run, tree
from krona.doctor import leftovers
from krona.doctor.line import Line
from krona.doctor.runs import fix, runs
from krona.messages import KronaError
from krona.outputs import claim


def lines(outputs: Path, *about: str) -> list[Line]:
    return [line for line in runs(outputs) if line.about in about or not about]


def broken(outputs: Path) -> list[str]:
    return [line.text for line in lines(outputs) if line.level == "broken"]


def test_a_sound_folder_has_nothing_broken(tmp_path: Path) -> None:
    run(tmp_path)
    run(tmp_path, "half", status="interrupted")
    claimed(run(tmp_path, "runs", status="running"), os.getpid())
    run(tmp_path, "fails", status="failed")
    before = tree(tmp_path)
    (counted,) = lines(tmp_path, "runs")
    assert counted.text.startswith("4 runs: ")
    assert all(f"1 {state}" in counted.text for state in ("done", "running", "interrupted", "failed"))
    assert not [line for line in lines(tmp_path) if line.level != "fine"]
    assert fix(tmp_path) == []
    assert tree(tmp_path) == before


def test_no_folder_at_all(tmp_path: Path) -> None:
    assert lines(tmp_path / "none", "runs") == [Line("runs", "0 runs")]
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is not a result"),
        ("[1]", "is not a result"),
        ("[" * 100_000, "is not a result"),
        ('{"schema": 9}', "schema 9"),
    ],
)
def test_a_result_that_cant_be_read(content: str, why: str, tmp_path: Path) -> None:
    folder = run(tmp_path)
    (folder / "result.json").write_text(content)
    (line,) = lines(tmp_path, "damaged run")
    assert (line.level, why in line.text) == ("broken", True), line
    assert line.mend is not None
    assert line.mend.startswith(f"rm -r {folder}")
    assert fix(tmp_path) == []
    assert (folder / "result.json").exists()


def test_scores_that_their_predictions_contradict(tmp_path: Path) -> None:
    path = run(tmp_path) / "result.json"
    path.write_text(path.read_text().replace("50.0", "90.0"))
    assert ["its predictions give 50.0" in text for text in broken(tmp_path)] == [True]


def test_files_of_a_finished_run_that_are_gone_or_damaged(tmp_path: Path) -> None:
    (run(tmp_path, "a") / "adapter.safetensors").unlink()
    (run(tmp_path, "b") / "predictions.jsonl").write_bytes(b"")
    adapter = run(tmp_path, "c") / "adapter.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-3])
    a, b, c = broken(tmp_path)
    assert a.endswith("a is done, but its adapter.safetensors is gone")
    assert b.endswith("b is done, but its predictions.jsonl is gone")
    assert "c/adapter.safetensors can't be read" in c


def test_full_fine_tuning_keeps_no_weights_unless_asked(tmp_path: Path) -> None:
    method = {"name": "full", "train_backbone": True}
    task = {"name": "rte", "labels": ["yes", "no"], "metrics": ["accuracy"]}
    for keep in ("adapter", "all"):
        folder = run(tmp_path, keep, config={"method": method, "task": task, "keep": keep})
        (folder / "adapter.safetensors").unlink()
    assert [Path(text.split(" is done")[0]).name for text in broken(tmp_path)] == ["all"]


def test_a_dead_processs_claim_and_files_are_notes_that_fix_removes(tmp_path: Path) -> None:
    folder = run(tmp_path, status="running")
    (folder / "last.ckpt").write_text("resume from here")
    held = claimed(folder, dead_pid())
    left = [aged(folder / name) for name in (".result.json.x1", ".last.ckpt.x2", ".now.abc", ".claim.abc")]
    left.append(aged(tmp_path / ".cache" / "tokens" / f".{'a' * 24}-x"))
    left.append(aged(tmp_path / "sweeps" / ".mine.json.x3"))
    young = aged(folder / ".metrics.csv.x4", seconds=1)
    other = aged(folder / ".notes-of-mine")
    noted = lines(tmp_path, "claims", "left-overs")
    assert [(line.level, line.mend) for line in noted] == [("note", "krona doctor --fix")] * 2
    assert {*fix(tmp_path)} == {held, *left}
    assert not [path for path in (held, *left) if path.exists()]
    assert young.exists()
    assert other.exists()
    assert (folder / "last.ckpt").read_text() == "resume from here"
    assert not lines(tmp_path, "claims", "left-overs")


def test_a_done_runs_checkpoint_is_left_over(tmp_path: Path) -> None:
    checkpoint = run(tmp_path) / "last.ckpt"
    checkpoint.write_text("killed before this was removed")
    assert fix(tmp_path) == [checkpoint]


@pytest.mark.parametrize("who", ["alive", "stopped", "elsewhere", "damaged"])
def test_what_may_live_is_left_alone(who: str, tmp_path: Path) -> None:
    folder = run(tmp_path, status="running")
    if who == "damaged":
        (folder / "claim.json").write_text("{")
    else:
        claimed(folder, os.getpid() if who != "elsewhere" else 1, "another-host" if who == "elsewhere" else None)
    part = aged(folder / ".result.json.x1")
    if who != "alive":
        aged(folder / "claim.json")
    found = lines(tmp_path, "claims", "left-overs")
    assert [line.about for line in found] == ([] if who == "alive" else ["claims"])
    assert fix(tmp_path) == []
    assert part.exists()


def test_fix_leaves_a_run_that_another_takes_over_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(tmp_path, status="running")
    claimed(folder, dead_pid())
    part = aged(folder / ".result.json.x1")
    monkeypatch.setattr(claim, "claim", lambda folder: None)
    assert fix(tmp_path) == []
    assert part.exists()


def test_fix_follows_no_link(tmp_path: Path) -> None:
    canary = aged(tmp_path / "mine" / "canary")
    folder = run(tmp_path / "outputs")
    link = folder / ".result.json.link"
    link.symlink_to(canary)
    os.utime(link, (0, 0), follow_symlinks=False)
    elsewhere = run(tmp_path / "mine", "run")
    aged(elsewhere / ".result.json.x1")
    (tmp_path / "outputs" / "linked").symlink_to(elsewhere)
    assert fix(tmp_path / "outputs") == [link]
    assert canary.exists()
    assert (elsewhere / ".result.json.x1").exists()


@pytest.mark.parametrize("name", ["sweeps", ".index", ".cache", ".cache/tokens"])
def test_fix_follows_no_link_of_a_shared_folder(name: str, tmp_path: Path) -> None:
    mine, outputs = tmp_path / "mine", tmp_path / "outputs"
    for left in (".x.json.old", f".{'a' * 24}-x", f"tokens/.{'a' * 24}-x"):
        aged(mine / left)
    (outputs / name).parent.mkdir(parents=True)
    (outputs / name).symlink_to(mine)
    before = tree(mine)
    assert not lines(outputs, "left-overs")
    assert fix(outputs) == []
    assert tree(mine) == before


def test_what_becomes_a_link_before_it_is_removed_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, outputs = tmp_path / "mine", tmp_path / "outputs"
    aged(outputs / "sweeps" / ".x.json.old")
    aged(mine / ".x.json.old")
    found = leftovers.elsewhere(outputs)
    (outputs / "sweeps").rename(outputs / "before")
    (outputs / "sweeps").symlink_to(mine)
    monkeypatch.setattr(leftovers, "elsewhere", lambda outputs: found)
    assert fix(outputs) == []
    assert (mine / ".x.json.old").exists()


def test_a_run_behind_a_link_is_another_owners(tmp_path: Path) -> None:
    outputs, mine = tmp_path / "outputs", run(tmp_path / "mine")
    claimed(mine, dead_pid())
    aged(mine / ".result.json.x1")
    outputs.mkdir()
    (outputs / mine.name).symlink_to(mine)
    before = tree(mine)
    assert not lines(outputs, "claims", "left-overs")
    assert fix(outputs) == []
    with pytest.raises(KronaError, match="symbolic link"):
        claim.claim(outputs / mine.name)
    assert tree(mine) == before
