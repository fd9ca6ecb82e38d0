"""Build the package: conf/ and sweeps/ become krona/shipped/ of an installed package (krona.paths)."""

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


def description() -> str:
    """README.md for a package index, where relative links do not work: their texts stay."""
    text = Path("README.md").read_text(encoding="utf-8")
    text = re.sub(r"!\[.*?\]\(docs/.*?\)\n\n", "", text)
    return re.sub(r"\[([^]]+)\]\((?!https?:).*?\)", r"\1", text)


setup(
    cmdclass={"build_py": BuildWithConfigs},
    long_description=description(),
    long_description_content_type="text/markdown",
)
