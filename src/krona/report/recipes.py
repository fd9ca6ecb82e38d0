"""Show the hyper-parameters of runs beside the paper's (Tables 10 to 18)."""

from collections.abc import Iterable, Mapping
from typing import Any

from krona.display_names import method_label, task_label
from krona.paper import RECIPE_REASONS, read_recipes
from krona.runs.run_id import as_text, canonical, find_value

RECIPE_TITLE = "Hyper-parameters beside the paper's (Tables 10 to 18)"


def compare_recipes(configs: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the hyper-parameters of runs beside the paper's, one line for equal values.

    A line has the keys Method, Tasks, Setting, and Paper, which contains the values that differ, or "the same". Runs of
    methods and tasks that the paper does not have are left out.
    """
    tasks: dict[tuple[str, str, str], dict[str, None]] = {}
    for config in configs:
        method, task = str(config["method"]["name"]), str(config["task"]["name"])
        recipe = read_recipes().get((method, task.removeprefix("sample_")))
        if recipe is None:
            continue
        settings = {key: as_text(canonical(find_value(config, key))) for key in recipe}
        differing = {key: value for key, value in recipe.items() if settings[key] != value}
        for key in differing:
            if reason := RECIPE_REASONS.get((method, key)):
                differing[key] += f" ({reason})"
        line = method_label(method), _format_settings(settings), _format_settings(differing) or "the same"
        tasks.setdefault(line, {})[task_label(task)] = None
    return [
        {"Method": method, "Tasks": ", ".join(names), "Setting": setting, "Paper": paper}
        for (method, setting, paper), names in tasks.items()
    ]


def _format_settings(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in values.items())
