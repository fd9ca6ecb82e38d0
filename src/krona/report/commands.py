"""List the commands that use a finished run."""

import re
import shlex
from pathlib import Path

from krona import paths
from krona.formatting import below
from krona.runs.folder import RunFolder
from krona.runs.result import Result


def report_command(sweep: str) -> str:
    """Return the command that prints the report of a sweep."""
    is_table = re.fullmatch("table[0-9]+", sweep)  # as an argument, this name selects a table of the paper
    return f"krona report {'--sweep ' if is_table else ''}{shlex.quote(sweep)}"


def run_commands(path: Path, result: Result) -> list[tuple[str, str]]:
    """Return pairs (introduction, command) for the commands that use the run in ``path``.

    If the run kept no weights, the first pair is a sentence that says so, and an empty command.
    """
    folder, title = RunFolder(path), "Show its mistakes:"
    if not folder.adapter.is_file() and (result.trainable_params or result.head_params):
        sentence = "This run kept no weights. Add keep=all and overwrite=true to the run's command to keep them."
        # without the folder, because that of a run in a pack is temporary
        return [(sentence, ""), (title, f"krona show {result.run_id} --mistakes 20")]
    is_peft = "peft_type" in (result.config["method"].get("config") or {})
    form = "merged" if result.provenance.get("mergeable") else "peft" if is_peft else "adapter"
    name = shlex.quote(folder.path.name if folder.path.parent == paths.OUTPUTS else below(folder.path))
    return [
        ("Predict with its weights:", f"krona predict {name} --input FILE"),
        ("Export its weights:", f"krona export {name} --to {form} --out FOLDER"),
        (title, f"krona show {name} --mistakes 20"),
    ]
