"""Test folders that krona removes or replaces. It must not touch files behind links or files that it did not write."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from krona import paths
from krona.adapters.export import MARKER, exported_folder
from krona.cli.krona import app
from krona.messages import KronaError
from krona.safe_files import remove
from runs.made_runs import run, tree

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


def test_an_error_keeps_the_earlier_export(tmp_path: Path) -> None:
    export_to(tmp_path / "out", text="old")

    def fail() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(KronaError, match="No space left"):
        export_to(tmp_path / "out", meanwhile=fail)
    assert (tmp_path / "out" / "adapter.safetensors").read_text() == "old"
    assert names(tmp_path) == {"out"}


def test_a_failed_rename_keeps_the_earlier_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_to(tmp_path / "out", text="old")
    rename = Path.rename

    def fail_for_new(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_for_new)
    with pytest.raises(KronaError, match="Permission denied"):
        export_to(tmp_path / "out")
    assert (tmp_path / "out" / "adapter.safetensors").read_text() == "old"
    assert names(tmp_path) == {"out"}


def test_the_command_refuses_before_a_model_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = tmp_path / "outputs"
    folder = run(outputs)
    monkeypatch.setattr(paths, "OUTPUTS", outputs)
    monkeypatch.setattr("krona.adapters.find.find", lambda name: SimpleNamespace(adapter=folder / "x"))
    monkeypatch.setattr("krona.adapters.export.load_predictor", lambda *_, **__: pytest.fail("a model was loaded"))
    before = tree(tmp_path)
    for out in (outputs, folder, tmp_path):
        done = CliRunner().invoke(app, ["export", folder.name, "--to", "adapter", "--out", str(out), "--overwrite"])
        assert isinstance(done.exception, KronaError | SystemExit), done.output
        assert "is not replaced" in f"{done.output}{done.exception}"
        assert tree(tmp_path) == before


def test_removal_keeps_the_target_of_a_link(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "inner").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (top / "link").symlink_to(tmp_path / "mine")
    assert all(map(remove, (top / "link", top / "inner", top / "missing")))
    assert not list(top.iterdir())
    assert (tmp_path / "mine" / "file").exists()
