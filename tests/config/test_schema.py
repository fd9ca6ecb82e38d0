"""Test conf/schema.json: it is up to date, accepts the package's YAML files, and rejects wrong keys and values."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from omegaconf import OmegaConf

from krona.config.schema import schema
from typed_run import PROJECT

CONF = PROJECT / "conf"
FILE = CONF / "schema.json"
VALIDATOR = jsonschema.Draft202012Validator(json.loads(FILE.read_text(encoding="utf-8")))
GLOBAL = [
    path
    for folder in (CONF, PROJECT / "sweeps")
    for path in folder.rglob("*.yaml")
    if "# @package _global_" in path.read_text()
]


def test_the_shipped_schema_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == schema(), "make schema"


@pytest.mark.parametrize("path", [CONF / "config.yaml", *GLOBAL], ids=lambda path: path.stem)
def test_it_holds_for_every_shipped_yaml_of_the_whole_config(path: Path) -> None:
    VALIDATOR.validate(OmegaConf.to_container(OmegaConf.load(path), resolve=False))


@pytest.mark.parametrize(
    "values",
    [{"sede": 1}, {"seed": -1}, {"seed": "zero"}, {"trainer": {"max_epoch": 3}}, {"trainer": {"precision": "16"}},
     {"optimizer": {"lr": "high"}}, {"method": {"fit_factors": "roughly"}}],
)  # fmt: skip
def test_a_wrong_key_or_value_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(values)
