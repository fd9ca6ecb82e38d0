"""Mutation testing: change one operator or constant of the code at a time, and check that a test fails.

Each changed version of the code is a mutant. A mutant survives if no test fails.

    python scripts/mutate.py                                            # 40 mutants per group: hours on one core
    python scripts/mutate.py metrics --mutants 10 --out mutants.json    # 10 mutants of one group

The library cosmic-ray provides the mutations and runs the tests. Mutants are written into a copy of the working tree.
They are chosen at random with a fixed seed. After an interruption, run the same command again to continue.
"""

import argparse
import difflib
import json
import os
import random
import shlex
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code, use_mutation
from cosmic_ray.plugins import get_operator, operator_names
from cosmic_ray.testing import run_tests
from cosmic_ray.work_item import TestOutcome

ROOT = Path(__file__).resolve().parent.parent
GROUPS = {  # from the name of a group to the sources to mutate, and the tests that should fail
    "methods": (["src/krona/methods"], ["tests/methods/test_branches.py", "tests/methods", "tests/test_contract.py"]),
    "metrics": (["src/krona/metrics"], ["tests/metrics/test_scores.py", "tests/metrics"]),
    "kronecker": (["src/krona/kernels/kronecker.py"], ["tests/kernels", "tests/methods/test_kronecker.py"]),
    "splits": (["src/krona/tasks/splits.py"], ["tests/tasks"]),
    "claim": (["src/krona/runs/claim.py"], ["tests/runs/test_claim.py", "tests/runs/test_fencing.py"]),
    "run_id": (["src/krona/runs/run_id.py"], ["tests/runs/test_run_id.py"]),
}
COPIED = ("src", "conf", "sweeps", "tests", "docs", "benchmarks", "pyproject.toml", "train.py", "bench.py", "README.md")
# BitOr would change `|` in type annotations. The other operators change names, and most of their mutants cannot start.
SKIPPED = ("BitOr", "VariableReplacer", "VariableInserter", "Not_Not")
TEST_LIMIT_S, MUTANT_LIMIT_S = 300, 3600  # for one test, and for all tests of a mutant


def list_mutations(file: Path) -> Iterator[tuple[Path, str, int]]:
    """Yield all mutations of a file. Each is a tuple of the file, the name of the operator, and the place's number."""
    nodes = list(ast_nodes(get_ast(file.read_text(encoding="utf-8"))))
    for name in operator_names():
        if not any(word in name for word in SKIPPED):
            operator = get_operator(name)()
            places = sum(1 for node in nodes for _ in operator.mutation_positions(node))
            yield from ((file.relative_to(ROOT), name, place) for place in range(places))


def compiles(mutation: tuple[Path, str, int]) -> bool:
    """Return whether Python compiles a mutant without a warning, so that only a test can find the fault."""
    file, operator, place = mutation
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            text = (ROOT / file).read_text(encoding="utf-8")
            compile(mutate_code(text, get_operator(operator)(), place), "mutant", "exec")
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


def tests_pass(copy: Path, group: str, mutated: Path) -> bool:
    """Run the tests of a group in the copy until a test fails or exceeds a limit. Return whether all tests passed."""
    options = ["-xq", f"--rootdir={copy}", f"--timeout={TEST_LIMIT_S}", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *order_tests(copy, group, mutated)]
    return bool(run_tests(shlex.join(command), MUTANT_LIMIT_S)[0] == TestOutcome.SURVIVED)


def try_mutant(copy: Path, group: str, file: Path, operator: str, place: int) -> dict[str, object]:
    """Write one mutant into the copy, run the tests of the group, restore the file, and return the result."""
    with use_mutation(copy / file, get_operator(operator)(), place) as (before, after):
        survived = tests_pass(copy, group, file)
    difference = difflib.unified_diff(before.split("\n"), after.split("\n"), n=0, lineterm="")
    return {"group": group, "survived": survived, "change": list(difference)[2:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("groups", nargs="*", choices=[[], *GROUPS], help="default: all")
    parser.add_argument("--mutants", type=int, default=40, help="mutants of each group")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "mutants.json")
    options = parser.parse_args()
    options.out = options.out.absolute()  # the tests run in another folder
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    groups = options.groups or list(GROUPS)
    with tempfile.TemporaryDirectory(prefix="krona-mutants-") as folder:
        copy = copy_sources(Path(folder))
        os.chdir(copy)
        os.environ |= {"PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
        for group in groups:
            if not tests_pass(copy, group, copy):
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
