"""Build the JSON schema of the settings for YAML editors. ``make schema`` writes the schema to conf/schema.json."""

import json
from typing import Any

from pydantic import TypeAdapter

from krona.config.settings import Placement, Run
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
    whole: dict[str, Any] = TypeAdapter(Run).json_schema()
    parts = whole.pop("$defs")
    parts["Method"]["properties"] |= TypeAdapter(Placement).json_schema()["properties"]
    for name, part in {**parts, "Run": whole}.items():
        properties = {key: part["properties"][key] for key in part["properties"] if key not in BUILT.get(name, ())}
        part["properties"] = {key: _without_default(value) for key, value in properties.items()}
        part["additionalProperties"] = name in BUILT
        part.pop("required", None)  # a file may contain only a part of a config
    own = whole["properties"]
    del own["config"]
    own |= {"defaults": {"type": "array"}, "hydra": {"type": "object"}}
    return json.dumps({**whole, "$defs": parts}, indent=1, ensure_ascii=False) + "\n"


def _without_default(value: dict[str, Any]) -> dict[str, Any]:
    kept = {key: inner for key, inner in value.items() if key not in ("default", "title", "description")}
    about = {"description": value["description"]} if "description" in value else {}
    return {**about, "anyOf": [kept, LATER]} if kept else about


if __name__ == "__main__":
    FILE.write_text(schema(), encoding="utf-8")
