"""Name the commands that use the weights of a run."""

import shlex
from pathlib import Path

from krona import paths
from krona.formatting import below
from krona.runs.folder import RunFolder
from krona.runs.result import Result


def run_commands(path: Path, result: Result) -> list[tuple[str, str]]:
    """Return pairs of a sentence and a command that uses the weights of the run in the folder ``path``.

    If the run kept no weights, the only sentence says so, and its command is empty.
    """
    folder = RunFolder(path)
    if not folder.adapter.is_file() and (result.trainable_params or result.head_params):
        return [("This run kept no weights. Add keep=all and overwrite=true to its command to keep them.", "")]
    name = shlex.quote(folder.path.name if folder.path.parent == paths.OUTPUTS else below(folder.path))
    return [
        ("Predict with its weights:", f"krona predict {name} --input FILE"),
        ("Export its weights:", f"krona export {name} --to merged --out FOLDER"),
    ]
