"""Write the checkpoint of an epoch atomically, and detect damaged checkpoints.

`krona.training.learner.Learner` decides what a checkpoint contains.
"""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from krona.messages import first_line
from krona.safe_files import Write, write_whole


class AtomicCheckpoints(TorchCheckpointIO):
    """The Lightning plugin that writes each checkpoint atomically, with the function ``write``.

    A run passes the ``write`` method of its claim, which raises an error if another process has taken over the run.
    """

    def __init__(self, write: Write = write_whole) -> None:
        self.write = write

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        def fill(part: Path) -> None:  # ``write`` has checked that the run's own folder still exists
            Path(path).parent.mkdir(parents=True, exist_ok=True)  # a user's own ModelCheckpoint may name a new folder
            torch.save(checkpoint, part)

        self.write(Path(path), fill)


def find_damage(checkpoint: Path) -> str | None:
    """Return a description of the damage in a checkpoint file.

    Return None if the file can be read and the checksums (CRC) of all its entries are correct.
    """
    try:
        with zipfile.ZipFile(checkpoint) as parts:
            if (damaged := parts.testzip()) is not None:
                return f"the checksum of its entry {damaged} is wrong"
        torch.load(checkpoint, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError:  # torch's own message advises users to allow arbitrary code
        return "it contains objects that are not weights or numbers"
    except Exception as error:  # zip, pickle and torch raise different exception types
        return first_line(error)
    return None
