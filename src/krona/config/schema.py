"""Build the JSON schema of the settings for YAML editors. ``make schema`` writes the schema to conf/schema.json."""

import json
from typing import Any

from pydantic import TypeAdapter

from krona.config.settings import Placement, RunSettings
from krona.paths import CONF

FILE = CONF / "schema.json"
LATER = {"type": "string", "pattern": r"^\?\?\?$|\$\{"}  # a value that is set later: ??? or ${…}
BUILT = {  # the fields of each class that krona fills from _target_ and the other keys of the section
    "Method": {"branch", "branch_config", "placement"},
    "Optimizer": {"target", "arguments"},
    "Scheduler": {"target", "arguments"},
}


def schema() -> str:
    """Return the JSON schema of config.yaml and of every YAML file with the package ``_global_``."""
    run: dict[str, Any] = TypeAdapter(RunSettings).json_schema()
    definitions = run.pop("$defs")
    definitions["Method"]["properties"] |= TypeAdapter(Placement).json_schema()["properties"]
    for name, definition in {**definitions, "RunSettings": run}.items():
        properties = {
            key: definition["properties"][key] for key in definition["properties"] if key not in BUILT.get(name, ())
        }
        definition["properties"] = {key: _without_default(value) for key, value in properties.items()}
        definition["additionalProperties"] = name in BUILT
        definition.pop("required", None)  # a file may contain only a part of a config
    own = run["properties"]
    del own["config"]
    own |= {"defaults": {"type": "array"}, "hydra": {"type": "object"}}
    return json.dumps({**run, "$defs": definitions}, indent=1, ensure_ascii=False) + "\n"


def _without_default(value: dict[str, Any]) -> dict[str, Any]:
    kept = {key: inner for key, inner in value.items() if key not in ("default", "title", "description")}
    about = {"description": value["description"]} if "description" in value else {}
    return {**about, "anyOf": [kept, LATER]} if kept else about


if __name__ == "__main__":
    FILE.write_text(schema(), encoding="utf-8")
