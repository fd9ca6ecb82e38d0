"""Runs in outputs/: how many there are, which are damaged, whose claims and files dead processes have left."""

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from krona.doctor import leftovers
from krona.doctor.line import Line
from krona.messages import KronaError, amount, listed, shortened
from krona.outputs.predictions import answers_of
from krona.outputs.result import Result, read_result
from krona.screen import below

FIX = "krona doctor --fix"
NAMED = 4  # of many, in one line


def runs(outputs: Path) -> Iterator[Line]:
    """Lines on the runs of a folder. Reads every result, without the index, which would be written anew."""
    folders = run_folders(outputs)
    states: Counter[str] = Counter()
    damaged, claims, left = [], [], leftovers.elsewhere(outputs)
    for folder in folders:
        result, wrong = examined(folder)
        held = leftovers.claim_of(folder)
        status = "damaged" if wrong else result.status if result else "waiting"
        if held is not None and held.live:
            states["running"] += 1
            continue
        states["interrupted" if status == "running" else status] += 1
        damaged += [Line("damaged run", why, "broken", _anew(folder)) for why in wrong]
        claims += [held] if held is not None and not folder.is_symlink() else []
        left += [path for path in leftovers.of_run(folder, done=status == "done") if path.name != "claim.json"]
    counted = ", ".join(f"{count} {state}" for state, count in states.most_common())
    yield Line("runs", f"{amount(len(folders), 'run')}{f': {counted}' if folders else ''}")
    tokens = outputs / ".cache" / "tokens"
    kept = len([path for path in tokens.glob("*") if not path.name.startswith(".")])
    yield Line("token cache", f"{below(tokens)}: {amount(kept, 'split')}")
    yield from damaged
    yield from _claims(claims)
    if left:
        text = f"{amount(len(left), 'file')} of processes that are dead: {_some([below(path) for path in left])}"
        yield Line("left-overs", text, "note", FIX)


def fix(outputs: Path) -> list[Path]:
    """Remove what dead processes have left, and nothing else; what was removed.

    Raises:
        KronaError: a run's folder can't be written to.
    """
    removed = leftovers.remove_elsewhere(outputs)
    for folder in run_folders(outputs):
        if not folder.is_symlink():  # what a link leads to may be another's
            result, _ = examined(folder)
            removed += leftovers.remove_of_run(folder, done=result is not None and result.status == "done")
    return removed


def run_folders(outputs: Path) -> list[Path]:
    """The folders that have a result or a claim, by name."""
    if not outputs.is_dir():
        return []
    there = sorted(path for path in outputs.iterdir() if not path.name.startswith("."))
    return [path for path in there if _has(path, "result.json") or _has(path, "claim.json")]


def _has(folder: Path, name: str) -> bool:
    try:
        return (folder / name).exists() or (folder / name).is_symlink()
    except OSError:  # a folder that may not be looked into
        return True


def examined(folder: Path) -> tuple[Result | None, list[str]]:
    """A run's result, if it can be read, and what is wrong with the run, in words."""
    path = folder / "result.json"
    try:
        if not path.is_symlink() and not path.exists():
            return None, []
        if not path.is_file():
            return None, [f"{below(path)} is no file"]
        result = read_result(path)
        answers_of(result, path)
        return result, _lost(result, folder)
    except KronaError as error:
        return None, [shortened(error, 300)]
    except Exception as error:  # a damaged file may hold anything
        return None, [f"{below(path)} is not a result: {type(error).__name__}: {shortened(error, 200)}"]


def _lost(result: Result, folder: Path) -> list[str]:
    """What a finished run's files lack."""
    if result.status != "done":
        return []
    names = ["predictions.jsonl", *(["adapter.safetensors"] if _keeps_weights(result) else [])]
    gone = [name for name in names if not (folder / name).is_file() or not (folder / name).stat().st_size]
    found = [f"{below(folder)} is done, but its {listed(gone)} {'are' if len(gone) > 1 else 'is'} gone"] if gone else []
    if (file := folder / "adapter.safetensors").is_file() and file.name not in gone:
        from safetensors import safe_open

        try:
            with safe_open(file, framework="numpy"):  # its header against its size
                pass
        except Exception as error:  # safetensors raises its own
            found.append(f"{below(file)} can't be read: {shortened(error, 200)}")
    return found


def _keeps_weights(result: Result) -> bool:
    """Whether the run wrote an adapter's file: as `krona.training.files.write_weights`."""
    if not result.trainable_params and not result.head_params:
        return False
    return not result.config["method"].get("train_backbone") or result.config.get("keep") == "all"


def _claims(claims: list[leftovers.Held]) -> Iterator[Line]:
    dead = [held.folder.name for held in claims if held.dead]
    if dead:
        text = f"{amount(len(dead), 'run')} claimed by processes that are dead: {_some(dead)}"
        yield Line("claims", f"{text}; the run's own command also takes it over", "note", FIX)
    for held in claims:
        if not held.dead:
            who = f"process {held.holder.get('pid', '?')} on {held.holder.get('host', '?')}"
            text = f"{held.folder.name}: {shortened(who, 80)} shows no sign of life (stopped, or its machine is gone)"
            yield Line("claims", text, "note", "the run's own command watches it for 15 s and takes it over")


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _anew(folder: Path) -> str:
    return f"rm -r {shlex.quote(below(folder))}; then the run's own command makes it anew"
