"""Pages made from the code, `python docs/site/pages.py`: every key of the configuration, and the list of methods."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from krona.config.settings import Backbone, Data, Optimizer, Run, Trainer

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
SECTIONS = {
    "Top level": (CONF / "config.yaml", Run, ""),
    "optimizer": (CONF / "config.yaml", Optimizer, "optimizer."),
    "trainer": (CONF / "trainer" / "default.yaml", Trainer, "trainer."),
    "data": (CONF / "data" / "tsv.yaml", Data, "data."),
    "backbone": (CONF / "backbone" / "local.yaml", Backbone, "backbone."),
}
LINE = re.compile(r"^( *)(\w+): *([^#]*?) *(?:# *(.*))?$")


def pages() -> dict[str, str]:
    """The text of each page by its name in docs/."""
    return {"configuration.md": configuration(), "methods/index.md": methods()}


def configuration() -> str:
    """Every key with its type, its default and what it means: from the types of settings.py and the YAMLs of conf/."""
    text = ["# Every key of the configuration\n"]
    text.append("Type `key=value` after `python train.py`. With `--cfg job` a command shows its resolved values.\n")
    for title, (path, settings, prefix) in SECTIONS.items():
        said = dict(_lines(path, prefix))
        text += [f"## {title}\n", "| key | type | default | |", "|---|---|---|---|"]
        for name, kind in get_type_hints(settings, include_extras=True).items():
            key = prefix + ("_target_" if name == "target" else name)
            if key not in said:
                continue  # a section of its own, or arguments that a class defines
            default, comment = said[key]
            text.append(f"| `{key}` | {_type(kind)} | {f'`{default}`' if default else ''} | {_cell(comment)} |")
        text.append("")
    text.append("## Choices\n")
    text.append("`group=NAME` selects a file of `conf/GROUP/`. Your own file there is a choice too.\n")
    text += ["| group | choices |", "|---|---|"]
    for group in sorted(path for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"):
        names = sorted(str(file.relative_to(group).with_suffix("")) for file in group.rglob("*.yaml"))
        text.append(f"| `{group.name}` | {' '.join(f'`{name}`' for name in names)} |")
    text += ["", "## Arguments of methods\n"]
    text += ["| method | key | default | |", "|---|---|---|---|"]
    for path in sorted((CONF / "method").glob("*.yaml")):
        for key, (default, comment) in _lines(path, "method."):
            if key not in ("method.name", "method.source", "method._target_"):
                text.append(f"| `{path.stem}` | `{key}` | `{default}` | {_cell(comment)} |")
    return "\n".join(text) + "\n"


def methods() -> str:
    """The methods with their pages and the first sentence of each."""
    text = ["# Methods\n", "| method | where it is from |", "|---|---|"]
    for page in sorted((ROOT / "docs" / "methods").glob("*.md")):
        if page.stem != "index":
            title, _, about, *_ = page.read_text(encoding="utf-8").splitlines()
            text.append(f"| [{title.removeprefix('# ')}]({page.name}) | `method={page.stem}`. {about} |")
    return "\n".join(text) + "\n"


def _lines(path: Path, prefix: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each key of a YAML with its value and comment, as written."""
    known = yaml.safe_load(path.read_text(encoding="utf-8"))
    inside = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        found = LINE.match(line)
        if found is None:
            continue
        indent, key, value, comment = found.groups()
        if not indent:
            inside = "" if value else f"{key}."
        if path.name == "config.yaml":
            wanted = value and (inside if indent else "") == prefix
        else:
            wanted = not indent and key in known
        if wanted:
            yield prefix + key, (value, comment or "")


def _type(kind: Any) -> str:
    """A type as a reader of YAML would say it."""
    text = str(kind).replace("typing.", "").replace("<class '", "").replace("'>", "")
    text = re.sub(r"Annotated\[(\w+), (.*?\))\]", r"\1 (\2)", text)
    text = re.sub(r"Optional\[(.*)\]", r"\1 | null", text)
    text = re.sub(r"Literal\[(.*?)\]", lambda found: found[1].replace(", ", " or ").replace("'", ""), text)
    text = re.sub(r"G[et]\(\w+=([-\d.]+)\)", r"≥ \1", text)
    text = re.sub(r"Le\(\w+=([-\d.]+)\)", r"≤ \1", text)
    text = text.replace("collections.abc.", "").replace("NoneType", "null").replace("None", "null")
    return _cell(text.replace(" | ", " or "))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for name, text in pages().items():
        (ROOT / "docs" / name).write_text(text, encoding="utf-8")
