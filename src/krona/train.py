"""Run `krona train` as ``python -m krona.train method=krona task=rte``. In Python, call the function `krona.train`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.argv[0] = str(Path(sys.executable).with_name("krona"))  # the program that messages tell the user to run
    from krona.cli.train import train

    train()
