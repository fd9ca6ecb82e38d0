"""Test krona as installed by pip from the wheel and from the sdist, in a new environment and a new folder."""

import json
import re
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

from krona import __version__
from krona.messages import DISTRIBUTION
from typed_run import output_of

ROOT = Path(__file__).parent.parent
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
NO_INDEX = ["--no-build-isolation", "--no-deps", "--no-index"]  # this environment has all other packages
SHORT = ["trainer.max_steps=2", "optimizer.warmup_steps=0"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the files for the build, because a build writes to its folder."""
    copy = tmp_path_factory.mktemp("source") / "krona"
    for folder in ("src", "conf", "sweeps"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for file in ROOT.iterdir():
        if file.is_file() and file.name != ".git":
            shutil.copy(file, copy)
    return copy


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def programs(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of a new environment with krona. All other packages are those of this environment."""
    made = tmp_path_factory.mktemp(request.param)
    if request.param == "wheel":
        output_of(*PIP, "wheel", *NO_INDEX, "--wheel-dir", made, source, cwd=made)
    else:
        code = f"from setuptools.build_meta import build_sdist; build_sdist({str(made)!r})"
        output_of(sys.executable, "-c", code, cwd=source)
    (archive,) = made.iterdir()
    assert archive.stat().st_size < 8 * 2**20
    output_of(sys.executable, "-m", "venv", "--without-pip", made / "venv", cwd=made)
    python = made / "venv" / "bin" / "python"
    packages = Path(output_of(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=made).strip())
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")  # .pth files in that folder are ignored
    output_of(*PIP, "--python", python, "install", *NO_INDEX, archive, cwd=made)
    code = "import krona, krona.paths; print(krona.__file__, krona.paths.INSTALLED)"
    assert output_of(python, "-P", "-c", code, cwd=made).split() == [str(packages / "krona" / "__init__.py"), "True"]
    return python.parent


def test_what_is_installed_is_what_the_repository_has(programs: Path) -> None:
    (package,) = programs.parent.glob("lib/*/site-packages/krona")

    def files(folder: Path) -> set[str]:
        found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {path.relative_to(folder).as_posix() for path in found}

    assert files(package / "shipped" / "conf") == files(ROOT / "conf")
    assert files(package / "shipped" / "sweeps") == files(ROOT / "sweeps")
    (metadata,) = programs.parent.glob("lib/*/site-packages/krona_pet-*.dist-info/METADATA")
    described = metadata.read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((.{5})", described)) == {"https"}
    assert f"Name: {DISTRIBUTION}\nVersion: {__version__}\n" in described
    own = {name for name in files(package) if not name.startswith("shipped/")}
    assert own == files(ROOT / "src" / "krona")


def test_runs_in_an_empty_folder_and_reports_them(programs: Path, tmp_path: Path) -> None:
    krona = programs / "krona"
    said = output_of(krona, "train", "profile=demo", "method=krona", *SHORT, cwd=tmp_path)
    assert "next: krona predict" in said
    output_of(krona, "table", "5", "profile=demo", "task=sample_rte", *SHORT, "--dry-run", cwd=tmp_path)
    (result,) = tmp_path.glob("outputs/*/result.json")
    found = json.loads(result.read_text())
    assert found["status"] == "done"
    assert {found["provenance"][key] for key in ("git_commit", "git_dirty", "git_code", "git_src")} == {None}
    assert "KronA" in output_of(krona, "report", cwd=tmp_path)
    assert "krona train -m" in output_of(krona, "train", "--help", cwd=tmp_path)
    assert not list(programs.parent.glob("lib/*/site-packages/krona/shipped/outputs"))
    assert {path.name for path in tmp_path.iterdir()} == {"outputs"}


@pytest.mark.parametrize("programs", ["wheel"], indirect=True)
def test_a_project_of_ones_own(programs: Path, tmp_path: Path) -> None:
    krona = programs / "krona"
    output_of(krona, "init", "own", cwd=tmp_path)
    own = tmp_path / "own"
    (own / "my_branch.py").write_text("from krona.methods.lora import LoRA\n\n\nclass Mine(LoRA): ...\n")
    method = "# @package _global_\ndefaults: [lora, _self_]\nmethod: {name: mine, _target_: my_branch.Mine}\n"
    (own / "conf" / "method" / "mine.yaml").write_text(method)
    assert "mine" in output_of(krona, "params", cwd=own)
    assert "usable: krona train task=reviews" in output_of(krona, "check-data", "reviews", cwd=own)
    sweep = ["sweeps=my_sweep", "profile=demo", "task=reviews", "method=mine", "seed=0", *SHORT]
    output_of(krona, "train", "-m", *sweep, cwd=own)
    assert "mine" in output_of(krona, "report", "--sweep", "my_sweep", cwd=own)
    assert len(list(own.glob("outputs/mine-reviews-*/result.json"))) == 1
