"""Test folders that krona removes or replaces. It must not touch files behind links or files that it did not write."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from krona import paths
from krona.adapters.commands import export_folder
from krona.adapters.commands.export_folder import MARKER, exported_folder
from krona.cli.doctor import remove_left_overs
from krona.cli.krona import app
from krona.messages import KronaError
from krona.safe_files import remove_below
from runs.made_runs import claimed, dead_pid, run, tree

FILES = {"adapter.safetensors", "README.md", MARKER}


def export_to(
    out: Path, name: str = "adapter.safetensors", text: str = "new", meanwhile: Callable[[], object] = lambda: None
) -> None:
    with exported_folder(out, overwrite=True) as part:
        (part / name).write_text(text)
        (part / "README.md").write_text("a card")
        meanwhile()


def refusal(out: Path) -> str:
    """Return the error message for a folder that is not replaced. Check that no file was changed."""
    before = tree(out.parent)
    with pytest.raises(KronaError) as caught, exported_folder(out, overwrite=True):
        pytest.fail("the work began")
    assert tree(out.parent) == before
    return str(caught.value)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_export_is_replaced(tmp_path: Path) -> None:
    export_to(tmp_path / "out", "adapter_model.safetensors")
    export_to(tmp_path / "out")
    assert names(tmp_path / "out") == FILES
    assert names(tmp_path) == {"out"}
    with pytest.raises(KronaError, match="--overwrite"), exported_folder(tmp_path / "out", overwrite=False):
        pytest.fail("the work began")


def test_no_other_folder_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, project, home = (tmp_path / name for name in ("outputs", "project", "home"))
    for folder in (outputs / "empty", project / "inner", home, tmp_path / "empty", tmp_path / "mine"):
        folder.mkdir(parents=True)
    done = run(outputs)
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    monkeypatch.chdir(project / "inner")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path / "empty")
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for out, reason in (
        (tmp_path / "mine", "thesis.tex"),
        (done, "result.json"),
        (outputs, "the outputs folder"),
        (tmp_path, "the outputs folder"),
        (Path(), "the working folder"),
        (project, "the working folder"),
        (home, "the home folder"),
        (tmp_path / "link", "a symbolic link"),
        (tmp_path / "dangling", "a symbolic link"),
        (tmp_path / "file", "not a folder"),
        (tmp_path / "empty", "a mount point"),
    ):
        assert reason in refusal(out)


def test_an_export_with_files_of_the_user_is_kept(tmp_path: Path) -> None:
    export_to(tmp_path / "out")
    (tmp_path / "out" / "notes").mkdir()
    (tmp_path / "out" / "notes" / "mine.txt").write_text("mine")
    assert "notes/mine.txt" in refusal(tmp_path / "out")
    (tmp_path / "out" / "notes" / "mine.txt").unlink()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    assert "(link)" in refusal(tmp_path / "out")
    (tmp_path / "out" / "link").unlink()
    (tmp_path / "out" / MARKER).unlink()
    assert "README.md" in refusal(tmp_path / "out")


@pytest.mark.parametrize("before", ["nothing", "empty", "export", "moved export"])
def test_a_file_that_appears_during_the_export_is_kept(before: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if before == "empty":
        out.mkdir()
    if "export" in before:
        export_to(out, text="old")

    def meanwhile() -> None:
        if before == "moved export":
            out.rename(tmp_path / "moved")
        out.mkdir(exist_ok=True)
        (out / "mine").write_text("mine")

    with pytest.raises(KronaError, match="during the export"):
        export_to(out, meanwhile=meanwhile)
    assert names(out) == {"mine"} | (FILES if before == "export" else set())
    assert names(tmp_path) <= {"out", "moved"}


def test_a_name_that_is_taken_while_the_earlier_export_is_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export_to(out, text="old")
    real = export_folder._take_name

    def late(part: Path, name: Path) -> None:
        name.mkdir()
        (name / "mine").write_text("mine")
        real(part, name)

    monkeypatch.setattr(export_folder, "_take_name", late)
    with pytest.raises(KronaError, match="The earlier export is now in"):
        export_to(out)
    assert (out / "mine").read_text() == "mine"
    assert [path.read_text() for path in tmp_path.rglob("adapter.safetensors")] == ["old"]


def killed(out: Path, *inside: str, pid: int | None = None) -> Path:
    """Make the temporary folder of an export that was killed, with files in its inner folders."""
    folder = out.with_name(f".{out.name}-abcd_123")
    for path in inside:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("mine")
    folder.mkdir(exist_ok=True)
    claimed(folder, pid or dead_pid())
    return folder


@pytest.mark.parametrize("by", ["the next export", "doctor", "doctor in the outputs folder"])
def test_what_a_killed_export_left_is_removed(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    left, other = killed(tmp_path / "out", "new/model.safetensors", "new/inner/x"), killed(tmp_path / "other", "new/x")
    (left / "new" / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    if by == "the next export":
        export_to(tmp_path / "out")
        assert names(tmp_path) == {"out", "mine", other.name}
    else:
        assert {*remove_left_overs(tmp_path if "outputs" in by else tmp_path / "outputs")} == {left, other}
        assert names(tmp_path) == {"mine"}


def test_an_export_whose_replacement_was_killed_is_restored(tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_to(out, text="old")
    left = killed(out, "new/adapter.safetensors")
    out.rename(left / "old")
    with pytest.raises(KronaError, match="--overwrite"), exported_folder(out, overwrite=False):
        pytest.fail("the work began")
    assert (out / "adapter.safetensors").read_text() == "old"
    assert names(tmp_path) == {"out"}
    left = killed(out, "old/mine")  # killed after the replacement; the user had added a file to the earlier export
    (left / "old" / MARKER).write_text('{"files": ["x"]}')
    export_to(out)
    assert (left / "old" / "mine").read_text() == "mine"


@pytest.mark.parametrize("why", ["it lives", "it holds another file", "it is a link", "another name"])
def test_a_folder_that_may_be_needed_is_kept(why: str, tmp_path: Path) -> None:
    out, inside = tmp_path / "out", ["mine"] if why == "it holds another file" else ["new/x"]
    left = killed(out, *inside, pid=os.getpid() if why == "it lives" else None)
    if why == "it is a link":
        left = left.rename(tmp_path / "elsewhere")
        (tmp_path / ".out-abcd_123").symlink_to(left)
    if why == "another name":
        left = left.rename(tmp_path / ".out-of-mine-abcd_12")
    before = tree(left)
    export_to(out)
    assert tree(left) == before


def test_the_command_refuses_before_a_model_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = tmp_path / "outputs"
    folder = run(outputs)
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    monkeypatch.setattr("krona.adapters.find.find", lambda name: SimpleNamespace(adapter=folder / "x"))
    monkeypatch.setattr("krona.adapters.commands.export.load", lambda *_, **__: pytest.fail("a model was loaded"))
    before = tree(tmp_path)
    for out in (outputs, folder, tmp_path):
        done = CliRunner().invoke(app, ["export", folder.name, "--to", "adapter", "--out", str(out), "--overwrite"])
        assert isinstance(done.exception, KronaError | SystemExit), done.output
        assert "is not replaced" in f"{done.output}{done.exception}"
        assert tree(tmp_path) == before


def test_removal_follows_no_link_below_the_top(tmp_path: Path) -> None:
    disk, top = tmp_path / "disk", tmp_path / "top"
    (disk / "inner").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    top.symlink_to(disk)  # the top folder itself may be a link
    (top / "link").symlink_to(tmp_path / "mine")
    assert not remove_below(top, top / "link" / "file")
    assert remove_below(top, top / "link")
    assert remove_below(top, top / "inner")
    assert remove_below(top, top / "missing")
    assert not list(disk.iterdir())
    with pytest.raises(ValueError, match="not below"):
        remove_below(top, top / ".." / "mine" / "file")
    assert (tmp_path / "mine" / "file").exists()
