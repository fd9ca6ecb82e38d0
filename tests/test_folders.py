"""Folders that krona removes or replaces: nothing behind a link, and nothing that it did not write."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from krona import paths
from krona.adapters.commands import export_folder
from krona.adapters.commands.export_folder import EARLIER_EXPORTS, MARKER, exported_folder
from krona.cli.krona import app
from krona.files import remove_below
from krona.messages import KronaError
from runs.made_runs import run, tree


def export_to(
    out: Path, name: str = "adapter.safetensors", text: str = "new", meanwhile: Callable[[], object] = lambda: None
) -> None:
    with exported_folder(out, overwrite=True) as part:
        (part / name).write_text(text)
        (part / "README.md").write_text("a card")
        meanwhile()


def refused(out: Path) -> str:
    """The message for a folder that is not replaced. Nothing is begun, and nothing beside it changes."""
    before = tree(out.parent)
    with pytest.raises(KronaError) as caught, exported_folder(out, overwrite=True):
        pytest.fail("the work began")
    assert tree(out.parent) == before
    return str(caught.value)


def test_an_export_is_replaced(tmp_path: Path) -> None:
    export_to(tmp_path / "out", "adapter_model.safetensors")
    export_to(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"adapter.safetensors", "README.md", MARKER}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(KronaError, match="--overwrite"), exported_folder(tmp_path / "out", overwrite=False):
        pytest.fail("the work began")


def test_an_export_of_an_earlier_version_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.md").write_text("# t5\n\nTrained with krona (run `lora-rte-s0`); form `adapter`")
    (out / "adapter.safetensors").write_text("old")
    export_to(out)
    assert (out / "adapter.safetensors").read_text() == "new"
    (out / MARKER).unlink()
    (out / "README.md").write_text("my own page")
    assert "krona did not write README.md" in refused(out)


def test_the_files_that_each_form_writes_are_known() -> None:
    for name in ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "tokenizer_config.json"):
        assert EARLIER_EXPORTS.fullmatch(name)
    for name in ("result.json", "notes.md", "model.safetensors.bak"):
        assert not EARLIER_EXPORTS.fullmatch(name)


def test_no_other_folder_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, project, home = (tmp_path / name for name in ("outputs", "project", "home"))
    for folder in (outputs / "empty", project / "inner", home, tmp_path / "empty"):
        folder.mkdir(parents=True)
    done = run(outputs)
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    monkeypatch.chdir(project / "inner")
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert "thesis.tex" in refused(tmp_path / "mine")
    assert "the folder of a run" in refused(done)
    assert "the outputs folder" in refused(outputs)
    assert "the outputs folder" in refused(tmp_path)
    assert "the working folder" in refused(Path())
    assert "the working folder" in refused(project)
    assert "a home" in refused(home)
    assert "a symbolic link" in refused(tmp_path / "link")
    assert "a symbolic link" in refused(tmp_path / "dangling")
    assert "not a folder" in refused(tmp_path / "file")
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path / "empty")
    assert "a mount point" in refused(tmp_path / "empty")


def test_an_export_that_the_user_added_to_is_kept(tmp_path: Path) -> None:
    export_to(tmp_path / "out")
    (tmp_path / "out" / "notes").mkdir()
    (tmp_path / "out" / "notes" / "mine.txt").write_text("mine")
    assert "notes/mine.txt" in refused(tmp_path / "out")
    (tmp_path / "out" / "notes" / "mine.txt").unlink()
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    assert "krona did not write link" in refused(tmp_path / "out")


@pytest.mark.parametrize("there", ["nothing", "empty", "export"])
def test_what_appears_during_the_export_is_kept(there: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if there == "empty":
        out.mkdir()
    if there == "export":
        export_to(out, text="old")

    def meanwhile() -> None:
        if there == "export":
            out.rename(tmp_path / "moved")
        out.mkdir(exist_ok=True)
        (out / "mine").write_text("mine")

    with pytest.raises(KronaError, match="during the export"):
        export_to(out, meanwhile=meanwhile)
    assert (out / "mine").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "moved"}


def test_a_file_that_comes_into_the_export_during_the_work_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_to(out, text="old")
    with pytest.raises(KronaError, match="during the export"):
        export_to(out, meanwhile=lambda: (out / "mine").write_text("mine"))
    assert {path.name for path in out.iterdir()} == {"adapter.safetensors", "README.md", MARKER, "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


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


def test_the_command_refuses_before_a_model_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = tmp_path / "outputs"
    folder = run(outputs)
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    monkeypatch.setattr("krona.adapters.find.find", lambda name, outputs: SimpleNamespace(adapter=folder / "x"))
    monkeypatch.setattr("krona.adapters.commands.export.load", lambda *_, **__: pytest.fail("a model was loaded"))
    before = tree(tmp_path)
    for out in (outputs, folder, tmp_path):
        done = CliRunner().invoke(app, ["export", folder.name, "--to", "adapter", "--out", str(out), "--overwrite"])
        assert isinstance(done.exception, KronaError | SystemExit), done.output
        assert "is not replaced" in f"{done.output}{done.exception}"
        assert tree(tmp_path) == before


def test_a_link_on_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "mine")
    assert not remove_below(tmp_path / "top", tmp_path / "top" / "link" / "file")
    assert (tmp_path / "mine" / "file").exists()
    assert remove_below(tmp_path / "top", tmp_path / "top" / "link")
    assert (tmp_path / "mine" / "file").exists()
    assert remove_below(tmp_path / "top", tmp_path / "top" / "none")
    with pytest.raises(ValueError, match="not below"):
        remove_below(tmp_path / "top", tmp_path / "top" / ".." / "mine" / "file")


def test_the_folder_at_the_top_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "inner").mkdir(parents=True)
    (tmp_path / "disk" / "inner" / "file").touch()
    (tmp_path / "top").symlink_to(tmp_path / "disk")
    assert remove_below(tmp_path / "top", tmp_path / "top" / "inner")
    assert not list((tmp_path / "disk").iterdir())
