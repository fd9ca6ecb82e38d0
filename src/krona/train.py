"""Run `krona train` as ``python -m krona.train method=krona task=rte``. In Python, call the function `krona.train`."""

import sys
from pathlib import Path

from krona.paths import hide_working_directory

if __name__ == "__main__":
    hide_working_directory()  # before the command line imports any library
    sys.argv[0] = str(Path(sys.executable).with_name("krona"))  # the program that messages tell the user to run
    from krona.cli.train import train

    train()
