"""Pages made from the code, `python docs/site/pages.py`: every key of the configuration, and the list of methods."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from krona import surgery
from krona.backbones.load import meta_model
from krona.backbones.with_method import insert_method
from krona.cli import parameter_table
from krona.cli.parameter_counts import MethodRow
from krona.config import check
from krona.config.compose import compose_job, hydra_session
from krona.config.settings import Backbone, Data, Optimizer, Run, Trainer
from krona.messages import KronaError

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
SECTIONS = {
    "Top level": (CONF / "config.yaml", Run, ""),
    "optimizer": (CONF / "config.yaml", Optimizer, "optimizer."),
    "trainer": (CONF / "trainer" / "default.yaml", Trainer, "trainer."),
    "data": (CONF / "data" / "tsv.yaml", Data, "data."),
    "backbone": (CONF / "backbone" / "local.yaml", Backbone, "backbone."),
}
T5_BASE = "t5_base"
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


METHODS_HEAD = """# Methods

The methods of `conf/method/`, with the size and the cost of each on T5-base.

| method | option | source and place |
|---|---|---|
"""
COSTS_HEAD = """
## Size and cost on T5-base

`krona params` prints these numbers for any backbone (`--backbone t5_large`) and any override, without weights.

| method | trains | % | paper | LN | merges | M adds | launches |
|---|---:|---:|---:|:-:|:-:|---:|---:|
"""
COSTS_FOOT = """
- **trains**: trainable parameters. **%**: their share of the backbone's parameters.
- **paper**: the percentage in the paper's Table 1. `–`: the paper does not have this method.
- **LN**: whether the 62 LayerNorm weights (47,616 parameters) train too. `method.train_layer_norms=false` freezes them.
- **merges**: whether the branches can be merged into the backbone's weights. A merged model is as fast as the backbone.
  `–`: the method has no branches.
- **M adds**: million multiply-adds of the branches' products for one token, summed over all places.
- **launches**: additional kernel launches in one forward pass. Both costs are those of unmerged branches.

[Fidelity](../fidelity.md) lists what the paper leaves open, and explains why the LayerNorms train.
"""


def methods() -> str:
    """Return the page of all methods: their pages and sources, then their size and cost on T5-base."""
    titles, about = {}, {}
    for page in sorted((ROOT / "docs" / "methods").glob("*.md")):
        if page.stem != "index":
            title, _, *paragraph = page.read_text(encoding="utf-8").splitlines()
            titles[page.stem] = f"[{title.removeprefix('# ')}]({page.name})"
            about[page.stem] = " ".join(paragraph[: paragraph.index("")])
    rows, _ = parameter_table.rows(T5_BASE)
    rows = [row for row in rows if row.method in titles]
    sources = "".join(f"| {titles[row.method]} | `method={row.method}` | {about[row.method]} |\n" for row in rows)
    costs = "".join(_cost_line(row, titles[row.method]) for row in rows)
    return METHODS_HEAD + sources + COSTS_HEAD + costs + COSTS_FOOT


def _cost_line(row: MethodRow, title: str) -> str:
    with hydra_session():
        config = compose_job([f"method={row.method}", f"backbone={T5_BASE}", "~recipe"]).config
    settings = check.settings(config, own=True)
    model = meta_model(settings.backbone)
    insert_method(model, settings.method, counterparts={})
    has_branches = next(iter(surgery.adapted_modules(model)), None) is not None
    merges = "–"
    if has_branches:
        try:
            surgery.merge(model)
            merges = "yes"
        except KronaError:
            merges = "no"
    norms = [weight.requires_grad for name, weight in model.named_parameters() if name.endswith("layer_norm.weight")]
    cells = (
        title,
        f"{row.trainable_params:,}",
        f"{row.trainable_percent:.4f}",
        "–" if row.paper_percent is None else f"{row.paper_percent:g}",
        "yes" if any(norms) else "no",
        merges,
        f"{row.multiply_adds / 1e6:.2f}",
        str(row.launches),
    )
    return f"| {' | '.join(cells)} |\n"


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
