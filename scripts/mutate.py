"""Mutation testing: change one operator or constant of the code at a time, and check that a test fails.

Each changed version of the code is a mutant. A mutant survives if no test fails.

    python scripts/mutate.py                                            # 40 mutants per group: hours on one core
    python scripts/mutate.py metrics --mutants 10 --out mutants.json    # 10 mutants of one group

The library cosmic-ray provides the mutations. Mutants are written into a copy of the working tree. They are chosen at
random with a fixed seed. After an interruption, run the same command again to continue.
"""

import argparse
import difflib
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cosmic_ray.ast import get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parent.parent
GROUPS = {  # from the name of a group to the sources to mutate, and the tests that should fail
    "methods": (["src/krona/methods"], ["tests/methods/test_branches.py", "tests/methods", "tests/test_contract.py"]),
    "metrics": (["src/krona/metrics"], ["tests/metrics/test_sums.py", "tests/metrics"]),
    "kronecker": (["src/krona/kernels/kronecker.py"], ["tests/kernels", "tests/methods/test_kronecker.py"]),
    "splits": (["src/krona/tasks/splits.py"], ["tests/tasks"]),
    "claim": (["src/krona/runs/claim.py"], ["tests/runs/test_claim.py", "tests/runs/test_fencing.py"]),
    "run_id": (["src/krona/runs/run_id.py"], ["tests/runs/test_run_id.py"]),
}
COPIED = ("src", "conf", "sweeps", "tests", "docs", "benchmarks", "pyproject.toml", "train.py", "bench.py", "README.md")
# BitOr would change `|` in type annotations. The other operators change names, and most of their mutants cannot start.
SKIPPED = ("BitOr", "VariableReplacer", "VariableInserter", "Not_Not")
# The tests of each mutant run in a copy of this process, which has already imported the libraries.
IMPORTED = ("torch", "pytorch_lightning", "transformers", "evaluate", "hydra", "scipy.stats", "sklearn.metrics")
CPU_LIMIT_S = 200  # for a test file; other processes have no influence on it, unlike on wall-clock time
TEST_LIMIT_S = 600  # for a test that waits without using processor time


def walk(node: Any) -> Iterator[Any]:
    """Yield a node of a syntax tree and all nodes below it."""
    yield node
    for child in getattr(node, "children", ()):
        yield from walk(child)


def list_mutations(file: Path) -> Iterator[tuple[Path, str, int]]:
    """Yield all mutations of a file. Each is a tuple of the file, the name of the operator, and the place's number."""
    nodes = list(walk(get_ast(file.read_text(encoding="utf-8"))))
    for name in operator_names():
        if not any(word in name for word in SKIPPED):
            operator = get_operator(name)()
            places = sum(1 for node in nodes for _ in operator.mutation_positions(node))
            yield from ((file.relative_to(ROOT), name, place) for place in range(places))


def mutate(path: Path, operator: str, place: int) -> tuple[str, str]:
    """Return the text of a file before and after a mutation."""
    before = path.read_text(encoding="utf-8")
    return before, mutate_code(before, get_operator(operator)(), place)


def compiles(mutation: tuple[Path, str, int]) -> bool:
    """Return whether Python compiles a mutant without a warning, so that only a test can find the fault."""
    file, operator, place = mutation
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compile(mutate(ROOT / file, operator, place)[1], "mutant", "exec")
    except SyntaxError:
        return False
    return True


def draw_sample(group: str, mutants: int, seed: int) -> list[tuple[Path, str, int]]:
    """Draw mutations of a group at random. The same seed and sources always give the same mutations."""
    paths = [ROOT / source for source in GROUPS[group][0]]
    files = sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))
    mutations = [mutation for file in files for mutation in list_mutations(file)]
    random.Random(f"{group} {seed}").shuffle(mutations)
    return list(islice(filter(compiles, mutations), mutants))


def copy_sources(folder: Path) -> Path:
    """Copy all files that the tests need into a folder, and return the folder."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    (folder / "outputs").mkdir()
    return folder


def order_tests(copy: Path, group: str, mutated: Path) -> list[str]:
    """Return the test files of a group. The files that are named after the mutated file are first."""
    tests = [copy / test for test in GROUPS[group][1]]
    files = [file for test in tests for file in (sorted(test.glob("test_*.py")) if test.is_dir() else [test])]
    return [str(file) for file in sorted(dict.fromkeys(files), key=lambda file: mutated.stem not in file.stem)]


def tests_pass(copy: Path, tests: list[str]) -> bool:
    """Run test files in the copy until a test fails, and return whether all tests passed.

    A test that exceeds a limit fails.
    """
    for test in tests:
        child = os.fork()  # a new process would have to import the libraries
        if not child:
            run_tests(copy, test)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            return False
    return True


def run_tests(copy: Path, test: str) -> NoReturn:
    """Run a test file in the copy, and end this process with pytest's exit status."""
    status = int(pytest.ExitCode.INTERNAL_ERROR)
    try:
        os.chdir(copy)
        os.environ.update(PYTHONPATH=str(copy / "src"), OMP_NUM_THREADS="1")
        sys.path.insert(0, str(copy / "src"))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
        for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
            os.dup2(os.open(os.devnull, mode), number)
        quiet = ["-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        status = pytest.main(["-x", f"--timeout={TEST_LIMIT_S}", *quiet, test])
    finally:
        os._exit(status)


def try_mutant(copy: Path, group: str, file: Path, operator: str, place: int) -> dict[str, object]:
    """Write one mutant into the copy, run the tests of the group, restore the file, and return the result."""
    before, after = mutate(copy / file, operator, place)
    (copy / file).write_text(after, encoding="utf-8")
    try:
        survived = tests_pass(copy, order_tests(copy, group, file))
    finally:
        (copy / file).write_text(before, encoding="utf-8")
    difference = difflib.unified_diff(before.split("\n"), after.split("\n"), n=0, lineterm="")
    return {"group": group, "survived": survived, "change": list(difference)[2:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], help="default: all")
    parser.add_argument("--mutants", type=int, default=40, help="mutants of each group")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "mutants.json")
    options = parser.parse_args()
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    groups = options.groups or list(GROUPS)
    for library in IMPORTED:
        import_module(library)
    with tempfile.TemporaryDirectory(prefix="krona-mutants-") as folder:
        copy = copy_sources(Path(folder))
        for group in groups:
            if not tests_pass(copy, order_tests(copy, group, copy)):
                sys.exit(f"The tests of {group} fail without a mutant. Run: pytest {' '.join(GROUPS[group][1])}")
            for mutation in draw_sample(group, options.mutants, options.seed):
                key = " ".join(map(str, (group, *mutation)))
                if key not in results:
                    results[key] = try_mutant(copy, group, *mutation)
                    options.out.write_text(json.dumps(results, indent=1))
                print("survived" if results[key]["survived"] else "killed  ", key, flush=True)
    for group in groups:
        survived = [result["survived"] for result in results.values() if result["group"] == group]
        print(f"{group:10} {survived.count(False)} of {len(survived)} mutants killed")


if __name__ == "__main__":
    main()
