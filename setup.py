"""The build: conf/, sweeps/ and the pages of docs/ become krona/shipped/ of an installed package (krona.paths)."""

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
        for page in Path("docs").rglob("*.md"):
            (shipped / page.parent).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(page, shipped / page)


setup(cmdclass={"build_py": BuildWithConfigs})
