"""Keys that runs log, and a check that a dashboard shows no others."""

from collections.abc import Iterable
from pathlib import Path

from krona.messages import KronaError, did_you_mean
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
            f"no run in {outputs} with a tracker is done, so no panel can be checked: "
            "python train.py profile=demo method=krona logger=wandb makes one"
        )
    return keys


def check(sections: Iterable[Section], logged: dict[KIND, set[str]]) -> None:
    """Raise `KronaError` that names each key of a panel that no run has, with the nearest one."""
    wrong = []
    for section in sections:
        for kind, key in sorted(set(section.needed())):
            if key not in logged[kind]:
                there = sorted(name for name in logged[kind] if name.count("/") < 2)  # without those of each place
                wrong.append(f"{section.title}: no run has {key} in its {kind}; {did_you_mean(key, there)}")
    if wrong:
        raise KronaError("the dashboard shows what no run logs:\n" + "\n".join(f"  {line}" for line in wrong))
