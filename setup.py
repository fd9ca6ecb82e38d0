"""The build: conf/ and sweeps/ of the repository become krona/shipped/ of an installed package (krona.paths)."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies both folders, except for an editable install, which reads the repository's."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        shipped = Path(self.build_lib) / "krona" / "shipped"
        shutil.rmtree(shipped, ignore_errors=True)  # of an earlier build: files that are gone stay away
        for folder in ("conf", "sweeps"):
            shutil.copytree(folder, shipped / folder)


setup(cmdclass={"build_py": BuildWithConfigs})
