"""Facts about the methods for tests: NAME.py for the method NAME. A method without a file has the defaults."""

from importlib import import_module
from pathlib import Path

from methods.case import Case

CASES: dict[str, Case] = {
    path.stem: import_module(f"methods.cases.{path.stem}").CASE
    for path in sorted(Path(__file__).parent.glob("*.py"))
    if path.stem != "__init__"
}


def find_case(method: str) -> Case:
    return CASES.get(method, Case())
