"""Which keys runs really log, and whether a dashboard asks for others."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from krona.messages import KronaError
from krona.trackers.dashboard.panels import KIND, Section
from krona.trackers.values import History


def logged_keys(outputs: Path) -> dict[KIND, set[str]]:
    """The keys of all runs in ``outputs`` that had a tracker (their tracked.jsonl)."""
    keys: dict[KIND, set[str]] = {"history": set(), "summary": set(), "config": set()}
    for path in sorted(outputs.glob("*/tracked.jsonl")):
        for entry in History(path.parent).entries():
            keys["history"] |= entry.get("values", {}).keys()
            keys["summary"] |= entry.get("summary", {}).keys()
            keys["config"] |= entry.get("config", {}).keys()
    if not keys["summary"]:
        raise KronaError(
            f"no run in {outputs} has told a tracker to its end, so no panel can be checked: "
            "python train.py profile=demo method=krona logger=wandb makes one"
        )
    return keys


def check(sections: Iterable[Section], logged: dict[KIND, set[str]]) -> None:
    """Raise `KronaError` that names each panel's key that no run has, with the nearest that one has."""
    wrong = []
    for section in sections:
        for kind, key in sorted(set(section.needed())):
            if key not in logged[kind]:
                near = difflib.get_close_matches(key, sorted(logged[kind]), n=1)
                hint = f", near: {near[0]}" if near else ""
                wrong.append(f"{section.title}: no run has {key} in its {kind}{hint}")
    if wrong:
        raise KronaError("the dashboard shows what no run logs:\n" + "\n".join(f"  {line}" for line in wrong))
