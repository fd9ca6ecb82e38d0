"""Read the rows that `krona predict` predicts, and check their file before torch is imported."""

from collections.abc import Iterable
from pathlib import Path

from krona import paths
from krona.messages import KronaError
from krona.runs import file_names
from krona.runs.folder import find_run
from krona.runs.result import Result, read_result
from krona.tasks import InputRows, Task
from krona.tasks.files import DataFile, FileColumns

NO_ROWS = "The input has no rows."


def open_rows(source: str, task: Task, results: Iterable[Result]) -> InputRows:
    """Return the rows of a file or of standard input. A TSV file is read with the quoting of the training data."""
    recorded = [result.config["data"].get("quoting") for result in results]
    return InputRows(source, task, quoting=next(filter(None, recorded), None))


def check_file(source: str, run: str) -> None:
    """Read a whole file of rows without importing torch.

    Standard input and pipes are not checked, because they can be read only once. With an adapter file, the columns are
    not checked.

    Raises:
        KronaError: the run was not found, or the file or one of its rows cannot be read, or the file has no rows.
    """
    path, given = Path(source), Path(run)
    if source == "-" or (path.exists() and not path.is_file()):
        return
    if given.exists() and given.name != file_names.RESULT and not (given / file_names.RESULT).is_file():
        rows: DataFile = DataFile(path, FileColumns(names={}, others=True))
    else:
        result = read_result(find_run(Path(paths.OUTPUTS), run).path / file_names.RESULT)
        rows = open_rows(source, Task.from_config(result.config["task"]), [result])
    if not sum(1 for _ in rows):
        raise KronaError(NO_ROWS)
