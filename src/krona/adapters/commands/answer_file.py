"""Write the output file of `krona predict` in parts, so that an interrupted command can be resumed."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from krona.files import read_json, write_whole
from krona.messages import KronaError, did_you_mean, visible
from krona.runs.folder import require_new

ENDINGS = (".tsv", ".csv", ".jsonl")
Answer = dict[str, Any]  # values by column name; probabilities, and the predictions of several runs, are dicts


@dataclass
class AnswerFile:
    """An open file of predictions.

    Args:
        done: the number of rows that are written.
        state: the file that records how much of the output is complete, or None for standard output.
        key: a string that identifies the runs, the input and the options.
    """

    out: BinaryIO
    ending: str
    done: int = 0
    state: Path | None = None
    key: str = ""

    def add(self, answers: Sequence[Answer]) -> None:
        """Write the predictions for the next rows, and record that these rows are complete."""
        text = format_answers(answers, self.ending, header=self.done == 0)
        self.out.write((visible(text) if self.out.isatty() else text).encode("utf-8"))
        self.out.flush()
        self.done += len(answers)
        if self.state is not None:
            os.fsync(self.out.fileno())
            content = json.dumps({"key": self.key, "rows": self.done, "bytes": self.out.tell()})
            write_whole(self.state, lambda part: part.write_text(content))


@contextmanager
def open_answers(output: Path | None, *, key: str, overwrite: bool) -> Iterator[AnswerFile]:
    """Open a file for predictions, or standard output, to which predictions are written as TSV.

    Until all predictions are written, the name of the file is ``NAME.partial``. The file ``NAME.partial.state`` records
    how many rows and bytes are complete.

    Args:
        output: the file, or None for standard output.
        key: a string that identifies the runs, the input and the options. A file is resumed only with the same key.

    Raises:
        KronaError: the file exists, its ending is unknown, or it cannot be written.
    """
    if output is None:
        try:
            yield AnswerFile(sys.stdout.buffer, ".tsv")
        except BrokenPipeError:  # the reader (such as head) closed the pipe; the command line handles this error
            raise
        except OSError as error:
            # otherwise Python would write the rest at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise KronaError(f"Standard output could not be written: {error.strerror or error}.") from error
        return
    require_answer_file(output, overwrite=overwrite)
    partial = output.with_name(f"{output.name}.partial")
    state = partial.with_name(f"{partial.name}.state")
    done, length = (0, 0) if overwrite else _read_state(partial, state, key)
    try:
        with partial.open("r+b" if done else "wb") as out:
            out.truncate(length)
            out.seek(length)
            yield AnswerFile(out, output.suffix, done, state, key)
        partial.replace(output)
        state.unlink(missing_ok=True)
    except OSError as error:
        raise KronaError(f"{partial} could not be written: {error.strerror or error}.") from error


def require_answer_file(output: Path, *, overwrite: bool) -> None:
    """Raise KronaError if the file cannot be written, or if it exists and must not be replaced."""
    if output.suffix not in ENDINGS:
        raise KronaError(f"--output {output} has an unknown ending: {did_you_mean(output.suffix, ENDINGS)}")
    if output.is_dir():
        raise KronaError(f"--output {output} is a folder. Give the name of a file.")
    require_new(output, overwrite=overwrite)
    if not output.parent.is_dir():
        raise KronaError(f"--output {output} cannot be written, because the folder {output.parent} was not found.")


def _read_state(partial: Path, state: Path, key: str) -> tuple[int, int]:
    """Return the number of complete rows in a partial file, and their bytes. Raises KronaError if the key differs."""
    if not partial.exists() or not state.exists():
        return 0, 0
    try:
        known = read_json(state)
        same, rows, length = known["key"] == key, int(known["rows"]), int(known["bytes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KronaError(f"{state} is damaged. Add --overwrite to start from the first row.") from error
    if not same or partial.stat().st_size < length:
        raise KronaError(
            f"{partial} belongs to other runs, rows or options. Run the command that wrote it, or add --overwrite."
        )
    return rows, length


def format_answers(answers: Sequence[Answer], ending: str, *, header: bool) -> str:
    """Return predictions as lines of a file. With ``header``, the first line contains the names of the columns."""
    if ending == ".jsonl":
        return "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
    cells = [flatten(answer) for answer in answers]
    lines = [list(row.values()) for row in cells]
    if header:
        lines.insert(0, list(cells[0]))
    if ending == ".tsv":
        return "".join("\t".join(" ".join(cell.split()) for cell in line) + "\n" for line in lines)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def flatten(answer: Answer, prefix: str = "") -> dict[str, str]:
    """Return a dict from column names to text, with one column for each probability.

    With several runs, the name of each column begins with the id of its run.
    """
    row: dict[str, str] = {}
    for name, value in answer.items():
        if name == "probabilities":
            row |= {f"{prefix}p({word})": f"{share:.6f}" for word, share in value.items()}
        elif isinstance(value, dict):
            row |= flatten(value, prefix=f"{name}: ")
        else:
            row[f"{prefix}{name}"] = "" if value is None else str(value)
    return row
