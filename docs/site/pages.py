"""Generate parts of the documentation from the code: ``python docs/site/pages.py``."""

import inspect
import json
import pydoc
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import evidence
import pytorch_lightning
import yaml
from pydantic import TypeAdapter

from krona.cli import parameter_table
from krona.config.compose import compose_job, hydra_session
from krona.config.settings import Backbone, Data, Method, Optimizer, Placement, RunSettings, Scheduler, Trainer
from krona.runs.run_id import NOT_IDENTITY

ROOT = Path(__file__).resolve().parents[2]
CONF, DOCS = ROOT / "conf", ROOT / "docs"
SECTIONS = {
    "": (RunSettings,),
    "optimizer": (Optimizer,),
    "scheduler": (Scheduler,),
    "trainer": (Trainer,),
    "data": (Data,),
    "backbone": (Backbone,),
    "method": (Method, Placement),
}
MARKER = re.compile(r"<!-- generated: (\w+) -->")
FAMILIES = (  # of methods, in the order of the table
    "The backbone or parts of it",
    "Bottlenecks",
    "Low rank",
    "Kronecker products",
    "Other structures",
    "Others",
)
ABOUT = re.compile(r"[^(:]*(?: \((?P<source>.*?)\))?: (?P<update>.*)\. Family: (?P<family>.*)\.")
NO_SETTINGS = {
    "name", "label", "order", "source", "_target_", "task_prefix", "fit_factors", "fit", "init", "non_linearity",
    *inspect.signature(Placement).parameters,
}  # fmt: skip
LIGHTNING = inspect.signature(pytorch_lightning.Trainer).parameters
PUBLISHERS = {
    "arXiv": "https://arxiv.org/abs/",
    "doi": "https://doi.org/",
    "openreview": "https://openreview.net/forum?id=",
}
NOT_TYPED = ("arguments", "branch", "branch_config", "config")  # krona fills these from other keys
TYPES = {int: "integer", float: "number", str: "text", dict: "mapping", list: "list"}  # a default shows its type


def pages() -> dict[str, str]:
    """Return the text of each page that has a generated part, by its name in docs/.

    A part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. The notebook is generated as a whole.
    """
    parts = {"keys": keys, "branches": branches, "methods": methods, "peft_types": peft_types} | evidence.TABLES
    texts = {}
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if names := MARKER.findall(text):
            for name in names:
                part = "\n".join(parts[name]())
                start, rest = text.split(f"<!-- generated: {name} -->\n")
                text = f"{start}<!-- generated: {name} -->\n{part}\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
            texts[str(path.relative_to(DOCS))] = text
    return {**texts, "first_hour.ipynb": notebook()}


def notebook() -> str:
    """Return first_hour.py as a Jupyter notebook. A line ``# %%`` begins a cell, and its text becomes a heading."""
    cells: list[dict[str, Any]] = []

    def add(kind: str, source: str) -> None:
        code = {"execution_count": None, "outputs": []} if kind == "code" else {}
        cells.append({"cell_type": kind, "id": f"cell-{len(cells)}", "metadata": {}, "source": source, **code})

    for cell in (DOCS / "first_hour.py").read_text(encoding="utf-8").split("# %% ")[1:]:
        heading, _, source = cell.partition("\n")
        if heading == "[markdown]":
            add("markdown", re.sub(r"^# ?", "", source.strip(), flags=re.MULTILINE))
        else:
            add("markdown", heading)
            add("code", source.strip())
    content = {"cells": cells, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def keys() -> list[str]:
    """Return a list of the keys of each section: types and meanings from settings.py, defaults as Hydra composes."""
    with hydra_session():
        composed = compose_job(["~recipe"]).config  # the method's own values, not those of one task
    text = []
    for section, models in SECTIONS.items():
        values = composed[section] if section else composed
        text.append(f"## {section or 'Top level'}\n")
        entries = [*_keys(section, models, values)]
        same = [key for key, *_ in entries if key in NOT_IDENTITY and key.removeprefix("trainer.") in LIGHTNING]
        text += [f"- `{key}`: {known}. {meaning}" for key, known, meaning in entries if key not in same]
        if same:
            defaults = ", ".join(f"`{key}={_value(values[key.removeprefix('trainer.')])[1:-1]}`" for key in same)
            text.append(f"- As in Lightning's `Trainer`, without an effect on the run id: {defaults}.")
        text.append("")
    return text


def _keys(section: str, models: tuple[type, ...], values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield key, values and meaning of each field, then of the arguments that the config adds."""
    prefix = f"{section}." if section else ""
    known = {"_target_"}
    for model in models:
        for name, field in TypeAdapter(model).json_schema()["properties"].items():
            known.add(name)
            of_branch = section == "method" and name == "placement" and model is Method
            if name in NOT_TYPED or name in SECTIONS or name in ("task", "callbacks", "logger") or of_branch:
                continue
            key = "_target_" if name == "target" else name
            value = values.get(key, field.get("default"))
            default = _value(value)
            shown = ("`true`", "`false`") if isinstance(value, bool) else (default, TYPES.get(type(value)))
            others = [kind for kind in _types(field) if kind not in shown]
            meaning = field.get("description", "").replace("``", "`")
            yield f"{prefix}{key}", ", ".join([default, *others]), meaning
    if section == "optimizer":
        for key in values.keys() - known:
            yield f"{prefix}{key}", _value(values[key]), "Argument of the class."


def _value(value: Any) -> str:
    text = json.dumps(value).strip('"')
    return f"`{text}`" if len(text) <= 80 else "`{…}`"


def _types(field: Mapping[str, Any]) -> list[str]:
    """Return a JSON schema's values: each word that it allows, and the other types."""
    if "anyOf" in field:
        return [kind for part in field["anyOf"] for kind in _types(part)]
    if "enum" in field or "const" in field:
        return [f"`{value}`" for value in field.get("enum", [field.get("const")])]
    if field["type"] == "boolean":
        return ["`true`", "`false`"]
    if field["type"] == "null":
        return ["`null`"]
    return [{"object": "mapping", "string": "text", "array": "list"}.get(field["type"], field["type"])]


def branches() -> list[str]:
    """Return the arguments of each branch class that not every YAML file of its methods explains, with the defaults."""
    names: dict[str, list[str]] = {}
    more: dict[str, dict[str, str]] = {}
    for path in sorted((CONF / "method").glob("*.yaml")):
        given = yaml.safe_load(path.read_text(encoding="utf-8"))["method"]
        target = given.get("_target_", "")
        if target and "build_all" not in vars(pydoc.locate(target)):  # not for types of peft
            names.setdefault(target, []).append(path.stem)
            for one in inspect.signature(pydoc.locate(target)).parameters.values():
                if one.kind is inspect.Parameter.KEYWORD_ONLY and one.name not in given:
                    more.setdefault(target, {})[one.name] = _value(one.default)[1:-1]
    return [
        f"- {', '.join(names[target])}: {', '.join(f'`{name}={value}`' for name, value in arguments.items())}"
        for target, arguments in more.items()
    ]


def methods() -> list[str]:
    """Return the table of the methods by family, with links to pages or drawings, and counts as of `krona params`.

    The first comment of a method's YAML file has the form "NAME (SOURCE): UPDATE. Family: FAMILY."
    """
    families: dict[str, list[str]] = {family: [] for family in FAMILIES}
    rows, _ = parameter_table.rows(parameter_table.PAPERS)
    for row in rows:
        text = (CONF / "method" / f"{row.method}.yaml").read_text(encoding="utf-8")
        comment = text.splitlines()[1].lstrip("# ")
        stated = ABOUT.fullmatch(comment)
        files = [f"{row.method}{suffix}" for suffix in (".md", ".svg")]
        links = [file for file in files if (DOCS / "methods" / file).is_file()]
        source = f" ({stated['source']})" if stated and stated["source"] else ""
        cells = (
            f"[`{row.method}`]({links[0]})" if links else f"`{row.method}`",
            (stated["update"] if stated else comment.rstrip(".")) + source,
            ", ".join(_settings(yaml.safe_load(text))),
            f"{row.trainable_params:,}",
            "–" if row.update_rank is None else str(row.update_rank),
        )
        families[stated["family"] if stated else FAMILIES[-1]].append(f"| {' | '.join(cells)} |")
    table = ["| method | update | settings | trainable | rank |", "|---|---|---|--:|--:|"]
    for family, lines in families.items():
        table += [f"| **{family}** |", *lines] if lines else []
    return table


def _settings(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the learning rates and the arguments of the branch that a method's YAML file sets, except common values."""
    for name, value in {**config["optimizer"], **config["method"]}.items():
        if name not in NO_SETTINGS:
            text = re.sub(r"\$\{learning_rate:(.*)\}", r"\1", _value(value)[1:-1])
            setting = f"{name}={text.replace(' ', '')}"
            if value is not None and setting not in ("lr=1e-3", "scaling=1.0"):
                yield f"`{setting}`"


def peft_types() -> list[str]:
    """Return a list of the methods in conf/method/peft by family, with links to their publications."""
    families: dict[str, list[str]] = {}
    for path in sorted((CONF / "method" / "peft").glob("*.yaml")):
        about = path.read_text(encoding="utf-8").splitlines()[1]
        source = re.sub(r"^[^(]*\((?:[^()]*\) )?|\), by peft.*$", "", about.replace("(IA)³ ", "IA3 "))
        kind, _, number = source.rpartition(", ")[2].partition(":")
        name = f"[`{path.stem}`]({PUBLISHERS[kind]}{number})" if kind in PUBLISHERS else f"`{path.stem}` ({source})"
        families.setdefault(about.partition("Family: ")[2].rstrip("."), []).append(name)
    return [f"- **{family}**: {', '.join(names)}" for family, names in sorted(families.items())]


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
