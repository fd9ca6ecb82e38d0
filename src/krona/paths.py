"""Paths of the project, its configs, its results and the files that it ships."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CONF = PROJECT / "conf"
SWEEPS = PROJECT / "sweeps"
PAPER = SWEEPS / "paper"  # the paper's printed tables, one CSV each
NANO = Path(__file__).parent / "backbones" / "nano"  # the small T5 that comes with the package
OUTPUTS = Path(os.environ.get("KRONA_OUTPUTS") or PROJECT / "outputs").absolute()  # on a cluster, a shared folder
