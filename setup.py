"""Build the package: conf/, sweeps/ and pages of docs/ become krona/shipped/ of an installed package (krona.paths)."""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies these folders, except for an editable install, which reads the repository's."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        shipped = Path(self.build_lib) / "krona" / "shipped"
        shutil.rmtree(shipped, ignore_errors=True)  # of an earlier build: files that are gone stay away
        for folder in ("conf", "sweeps"):
            shutil.copytree(folder, shipped / folder)
        for page in (*Path("docs").rglob("*.md"), Path("docs/first_hour.py")):
            (shipped / page.parent).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(page, shipped / page)


def description() -> str:
    """README.md for a package index, where relative links do not work: a link to a page becomes a command."""
    text = Path("README.md").read_text(encoding="utf-8")
    text = re.sub(r"!\[.*?\]\(docs/.*?\)\n\n", "", text)
    text = re.sub(r"\[([^]]+)\]\(docs/([\w/-]+)\.md\)", r"\1 (`krona docs \2`)", text)
    return re.sub(r"\[([^]]+)\]\((?!https?:).*?\)", r"\1", text)


setup(
    cmdclass={"build_py": BuildWithConfigs},
    long_description=description(),
    long_description_content_type="text/markdown",
)
