"""The command `krona init`: the files of starter/ in a folder of the user's."""

import shlex
import shutil
from functools import partial
from pathlib import Path

from krona.files import write_whole
from krona.messages import KronaError, listed
from krona.screen import as_typed, below

STARTER = Path(__file__).with_name("starter")


def init(folder: Path) -> None:
    """Write a small project and print what was written and the next command.

    Raises:
        KronaError: a file is there already, or one can't be written; the first case writes none.
    """
    files = [path.relative_to(STARTER) for path in sorted(STARTER.rglob("*")) if path.is_file()]
    there = [str(folder / file) for file in files if (folder / file).exists()]
    if there:
        raise KronaError(f"{listed(there)}: there already, and nothing was written; another folder: krona init FOLDER")
    for file in files:
        write_whole(folder / file, partial(shutil.copyfile, STARTER / file))
        print(folder / file)
    enter = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(below(folder))}; "
    print(as_typed(f"next: {enter}krona train profile=demo task=reviews method=my_krona"))
