"""A file of answers, written in parts: an interrupted one is resumed after its last whole part."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from krona.files import write_whole
from krona.messages import KronaError, did_you_mean
from krona.runs.folder import require_new

ENDINGS = (".tsv", ".csv", ".jsonl")
Answer = dict[str, Any]  # column → value; a dictionary of numbers only in JSON


class Answers:
    """Answers to rows, added in order. ``done``: how many rows were answered before this process."""

    def __init__(self, out: BinaryIO, ending: str, *, done: int = 0, state: Path | None = None, key: str = "") -> None:
        self.out, self.ending, self.done, self.state, self.key = out, ending, done, state, key

    def add(self, answers: Sequence[Answer]) -> None:
        """Write a part, whole before the next begins."""
        text = as_text(answers, self.ending, header=self.done == 0)
        self.out.write(text.encode("utf-8"))
        self.out.flush()
        self.done += len(answers)
        if self.state is not None:
            os.fsync(self.out.fileno())
            content = json.dumps({"key": self.key, "rows": self.done, "bytes": self.out.tell()})
            write_whole(self.state, lambda part: part.write_text(content))


@contextmanager
def answers_to(output: Path | None, *, key: str, overwrite: bool) -> Iterator[Answers]:
    """Answers to a file, None: to standard output as TSV. The file has its name when all are in it; before, it is
    ``NAME.partial``, beside which ``NAME.partial.state`` says what is whole.

    Args:
        key: identifies runs, input and options: only with the same key a file is resumed.

    Raises:
        KronaError: a file that exists, an unknown ending, a disk that is full.
    """
    if output is None:
        try:
            yield Answers(sys.stdout.buffer, ".tsv")
        except BrokenPipeError:  # nobody reads on (head): the command line ends in silence
            raise
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the exit tries to write the rest
            raise KronaError(f"standard output could not be written: {error.strerror or error}") from error
        return
    check_output(output, overwrite=overwrite)
    partial = output.with_name(f"{output.name}.partial")
    state = partial.with_name(f"{partial.name}.state")
    done, length = _whole(partial, state, key, overwrite=overwrite)
    try:
        with partial.open("r+b" if done else "wb") as out:
            out.truncate(length)
            out.seek(length)
            yield Answers(out, output.suffix, done=done, state=state, key=key)
        partial.replace(output)
        state.unlink(missing_ok=True)
    except OSError as error:
        raise KronaError(f"{partial} could not be written: {error.strerror or error}") from error


def check_output(output: Path, *, overwrite: bool) -> None:
    """Raise KronaError for a file that can't be, or must not be, written."""
    if output.suffix not in ENDINGS:
        raise KronaError(f"--output {output}: {did_you_mean(output.suffix, ENDINGS)}")
    if output.is_dir():
        raise KronaError(f"--output {output} is a folder: name a file")
    require_new(output, overwrite=overwrite)
    if not output.parent.is_dir():
        raise KronaError(f"--output {output}: there is no folder {output.parent}")


def _whole(partial: Path, state: Path, key: str, *, overwrite: bool) -> tuple[int, int]:
    """Rows and bytes of a half-written file that are whole."""
    if overwrite or not partial.exists() or not state.exists():
        return 0, 0
    try:
        known: Mapping[str, Any] = json.loads(state.read_text())
        same, rows, length = known["key"] == key, int(known["rows"]), int(known["bytes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KronaError(f"{state} is damaged: --overwrite starts anew") from error
    if not same or partial.stat().st_size < length:
        raise KronaError(f"{partial} was begun with other runs, rows or options: --overwrite starts anew")
    return rows, length


def as_text(answers: Sequence[Answer], ending: str, *, header: bool) -> str:
    """Answers as lines of a file."""
    if ending == ".jsonl":
        return "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
    flat = [as_cells(answer) for answer in answers]
    names = list(flat[0]) if flat else []
    if ending == ".tsv":
        lines = ([names] if header else []) + [[row[name] for name in names] for row in flat]
        return "".join("\t".join(" ".join(cell.split()) for cell in line) + "\n" for line in lines)
    text = io.StringIO()
    table = csv.DictWriter(text, names, lineterminator="\n")
    if header and names:
        table.writeheader()
    table.writerows(flat)
    return text.getvalue()


def as_cells(answer: Answer, prefix: str = "") -> dict[str, str]:
    """Column → text: a column for each probability, and for each answer of several runs under the run's id."""
    row: dict[str, str] = {}
    for name, value in answer.items():
        if name == "probabilities":
            row |= {f"{prefix}p({word})": f"{share:.6f}" for word, share in value.items()}
        elif isinstance(value, dict):
            row |= as_cells(value, prefix=f"{name}: ")
        else:
            row[f"{prefix}{name}"] = "" if value is None else str(value)
    return row
