"""Run the code blocks of a page, in this process except for train.py, which saves imports: run_page.py PAGE."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from krona.cli.krona import app
from krona.paths import PROJECT


def run(page: Path) -> None:
    names: dict[str, object] = {}
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        if language == "python":
            print(f">>> {block}")
            exec(block, names)
            continue
        for line in block.replace("\\\n", " ").splitlines():
            print(f"$ {line}", flush=True)
            program, *arguments = shlex.split(line, comments=True)
            if program == "krona":
                app(arguments, standalone_mode=False)
            else:
                assert (program, arguments[0]) == ("python", "train.py"), line
                subprocess.run([sys.executable, PROJECT / "train.py", *arguments[1:]], check=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]))
