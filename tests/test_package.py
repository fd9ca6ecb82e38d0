"""Test the installed package: version, entry points, types, and names that are imported on first use."""

import re
import sys
import tomllib
from pathlib import Path

import krona
from krona import surgery
from krona.messages import DISTRIBUTION, install_command
from typed_run import output_of

ROOT = Path(__file__).parent.parent
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_is_the_declared_one() -> None:
    assert krona.__version__ == DECLARED["project"]["version"]
    assert output_of(sys.executable, "-m", "krona", "--version") == f"krona {krona.__version__}\n"


def test_commands_that_install_an_extra_use_the_declared_name() -> None:
    assert DECLARED["project"]["name"] == DISTRIBUTION
    extras, found = DECLARED["project"]["optional-dependencies"], []
    for file in output_of("git", "ls-files", "src", "conf", "sweeps", "docs", "*.md", cwd=ROOT).splitlines():
        if file.endswith((".py", ".yaml", ".md")):
            text = (ROOT / file).read_text(encoding="utf-8")
            found += [
                (file, *command) for command in re.findall(r"pip install (?:-e )?[\"']?(\.|[\w-]+)\[(\w+)\]", text)
            ]
    assert len(found) > 40
    assert [one for one in found if one[1] not in (".", DISTRIBUTION) or one[2] not in extras] == []
    assert install_command("peft") == 'pip install "krona-pet[peft]"'


def test_the_changelog_and_the_citation_have_this_version() -> None:
    released = re.findall(r"^## (\S+) \(\d{4}-\d\d-\d\d\)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert released[0] == krona.__version__
    assert f"\nversion: {krona.__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_import_krona_loads_nothing_and_dir_shows_the_public_names() -> None:
    heavy = "{'torch', 'transformers', 'pandas', 'hydra'}"
    code = f"import sys, krona; print(sorted({heavy} & set(sys.modules)), set(krona.__all__) <= set(dir(krona)))"
    assert output_of(sys.executable, "-c", code) == "[] True\n"


def test_every_public_name_is_there_and_says_what_it_does() -> None:
    for name in krona.__all__:
        assert getattr(krona, name).__doc__, name
    assert (krona.insert, krona.take_out) == (surgery.insert, surgery.take_out)
    assert (krona.merge, krona.bake) == (surgery.merge, surgery.bake)
