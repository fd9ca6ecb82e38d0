"""Generate the page of `krona`'s commands from their parsers. `make docs` builds it; it is not stored."""

from typing import Any

import typer

from krona.cli.krona import app

HEAD = """# Commands

This page shows the arguments and options of each `krona` command, as `krona COMMAND --help` prints them.

`krona train` takes the [overrides](configuration.md) of `train.py`.
"""


def commands_page() -> str:
    """Return the page: for each command its usage, its purpose and a table of arguments and options."""
    group: Any = typer.main.get_command(app)
    with group.make_context("krona", [], resilient_parsing=True) as context:
        sections = [_section(group.commands[name], context) for name in sorted(group.commands)]
    return "\n".join([HEAD, *sections])


def _section(command: Any, parent: Any) -> str:
    with command.make_context(command.name, [], parent=parent, resilient_parsing=True) as context:
        usage = " ".join(["krona", command.name, *command.collect_usage_pieces(context)])
        rows = [_row(parameter, context) for parameter in command.params]
    text = [f"## {command.name}", "", command.help or "", "", f"    {usage}", ""]
    if rows:
        text += ["| argument or option | meaning | default |", "|---|---|---|", *rows, ""]
    return "\n".join(text)


def _row(parameter: Any, context: Any) -> str:
    name = ", ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.name.upper()
    default = parameter.get_default(context)
    shown = "" if default in (None, False, (), []) else f"`{default}`"
    meaning = (parameter.help or "").replace("|", "\\|")
    return f"| `{name}` | {meaning} | {shown} |"
