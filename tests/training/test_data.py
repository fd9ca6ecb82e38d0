"""Test the data of a run: rounded targets, and files that change while a run starts."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from krona.config import check
from krona.messages import KronaError
from krona.tasks import data_fingerprint
from krona.training import in_python
from krona.training.data import load_splits
from one_job import SMALL, config
from tasks.glue_files import write as write_glue
from tiny_backbones import write


def test_targets_are_rounded_only_for_a_backbone_that_generates_numbers(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in write_glue(tmp_path / "glue", "stsb").glob("*.tsv"):
        file.write_text(file.read_text().replace("00\n", "49\n"))  # scores such as 1.449
    made = list[Any]()

    def new_learner(settings: Any, backbone: Any, data: Any, *arguments: Any, **options: Any) -> Mock:
        made.append(data)
        return Mock(data=data)

    monkeypatch.setattr("krona.training.run.Learner", new_learner)
    for folder in (tiny_folder, write(tmp_path / "bert", "bert")):
        data = ["task=stsb", "data=tsv", f"data.path={tmp_path / 'glue'}"]
        in_python.module_and_loaders(config("method=full", "backbone=local", f"backbone.path={folder}", *data, *SMALL))
    generated, predicted = made
    for role in ("dev", "test"):
        numbers = getattr(predicted, role).split.targets
        assert all(number.endswith("49") for number in numbers)
        assert getattr(generated, role).split.targets == [number[:-2] for number in numbers]
    assert all(round(row["labels"][0] * 1000) % 100 == 49 for row in predicted.train.dataset)


@pytest.mark.parametrize("share", [False, True])
def test_a_file_that_changes_after_the_run_id_was_computed_stops_the_run(share: bool, tmp_path: Path) -> None:
    file = write_glue(tmp_path, "rte") / "train.tsv"
    values = config("method=lora", "profile=demo", "task=rte", "data=tsv", f"data.path={tmp_path}")
    settings = check.settings(values)
    before = data_fingerprint(settings.task, settings.data)
    rows = load_splits(settings, fingerprint=before, keep=share)
    file.write_text(file.read_text().replace("cat no. 3", "dog no. 3"))
    if share:  # these rows were read before the change
        assert load_splits(settings, fingerprint=before, keep=True) is rows
        settings = replace(settings, data=replace(settings.data, seed=1))
    for _ in range(2):  # the first attempt keeps no rows
        with pytest.raises(KronaError, match=rf"data of task rte changed .* was {before} and is now tsv:"):
            load_splits(settings, fingerprint=before, keep=share)
