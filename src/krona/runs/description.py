"""Describe a run as text: its data and shapes, its departures from the paper's protocol, and its summary."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from rich.console import Console

from krona import paths
from krona.display_names import BENCHMARKS, KINDS, task_label
from krona.formatting import below, rate, say
from krona.messages import plural, shorten
from krona.methods.factor_shapes import shape_name
from krona.metrics.scores.metric import Answers
from krona.runs.folder import RunFolder, RunState
from krona.runs.predictions import score_metrics
from krona.runs.result import Result, Scored
from krona.runs.suspicious_scores import examine_scores, message_lines

T5_BASE_PARAMETERS = 222_903_552
T5_BASE_SIZES = {
    "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12,
    "feed_forward_proj": "relu", "vocab_size": 32128,
}  # fmt: skip
T5_BASE_NAMES = ("google-t5/t5-base", "t5-base")  # names of the weights on the Hub
DATA_SETTINGS = {
    "protocol": "table1", "seed": 42, "train_rows": None, "dev_from_train": None, "test_from_train": None,
}  # fmt: skip

OfficialSplit = tuple[str, int, int]  # name of an official split, number of rows found, number in the benchmark


def differing_split(result: Result) -> OfficialSplit | None:
    """Return the data split whose row count differs most from the benchmark's, or None if all counts are equal."""
    counts: dict[str, list[int]] = result.provenance.get("official_rows") or {}
    differing = [(name, count, official) for name, (count, official) in counts.items() if count != official]
    return max(differing, key=relative_difference, default=None)


def relative_difference(split: OfficialSplit) -> float:
    """Return the relative difference between a split's row count and the benchmark's."""
    _, count, official = split
    return abs(count - official) / official


def describe_data(result: Result) -> str:
    """Describe the data of a run: its kind, or the row count that differs from the benchmark's."""
    split = differing_split(result)
    name = KINDS[result.data_kind] if split is None else describe_split(split, result.data_kind)
    return name if result.provenance.get("pretrained", True) else f"{name}, random weights"


def describe_split(split: OfficialSplit, kind: str = "glue") -> str:
    """Return a heading for data that has the format of a benchmark's files but a different number of rows."""
    name, count, official = split
    return f"{BENCHMARKS[kind]}'s format, but {count:,} instead of {official:,} rows in {name}"


def used_shape(result: Result) -> str | None:
    """Return the shape of A that the run used, such as ``16x12``."""
    return _shape_of_a(result.provenance.get("branch_config") or {}) or _shape_of_a(result.config["method"])


def asked_shape(result: Result) -> str | None:
    """Return the shape of A in the config, such as ``32x24``, or None if the run used this shape."""
    asked = _shape_of_a(result.config["method"])
    return asked if asked != used_shape(result) else None


def _shape_of_a(method: dict[str, Any]) -> str | None:
    factors = method.get("kron_factors")
    return shape_name(factors[0]) if factors else None


def predict_command(folder: RunFolder, result: Result) -> str | None:
    """Return the command that predicts with a run's weights, or None if the run kept no weights."""
    if not folder.adapter.is_file() and (result.trainable_params or result.head_params):
        return None
    name = folder.path.name if folder.path.parent == paths.OUTPUTS else below(folder.path)
    return f"krona predict {shlex.quote(name)} --input FILE"


def record_departures(result: Result) -> None:
    """Store in the result of a run on GLUE why the run is not comparable with the paper (`list_departures`)."""
    if result.data_kind == "glue":
        result.departures = [*list_departures(result)]


def list_departures(result: Result) -> Iterator[str]:
    """Yield the reasons why a run on GLUE is not comparable with the paper.

    If an unfinished run has not recorded the size of its backbone yet, only the backbone's name is checked.
    """
    yield from _backbone_departures(result)
    data, task = result.config.get("data", {}), task_label(result.task)
    for key, expected in DATA_SETTINGS.items():
        if (value := data.get(key, expected)) != expected:
            usual = "all rows" if key == "train_rows" else expected or "none"
            yield f"data.{key}={value}, and the paper's protocol uses {usual}"
    if weights := result.config["task"].get("class_weights"):
        yield f"task.class_weights={weights}, and the paper's loss has no weights"
    if split := differing_split(result):
        name, num_rows, official = split
        yield f"{task}'s {name} has {plural(num_rows, 'row')}, and GLUE's has {official:,}"
    if skipped := max((split.get("skipped_rows") or 0 for split in result.splits.values()), default=0):
        yield f"data.skip_bad_rows left out {plural(skipped, 'row')} of {task}"


def _backbone_departures(result: Result) -> Iterator[str]:
    config: Mapping[str, Any] = result.config["backbone"]
    measured: Mapping[str, Any] | None = result.provenance.get("backbone")
    published = not config.get("path") and config["name"] in T5_BASE_NAMES
    if measured is None:
        if not published:
            yield "the backbone's size is not known"
    elif measured["architecture"] != "t5":
        yield f"the backbone has the architecture {measured['architecture']}, and the paper's backbone is a T5"
    elif measured["parameters"] != T5_BASE_PARAMETERS:
        yield f"the backbone has {measured['parameters']:,} parameters, and T5-base has {T5_BASE_PARAMETERS:,}"
    elif differing := {key: size for key, size in T5_BASE_SIZES.items() if measured["sizes"].get(key, size) != size}:
        sizes = [f"{key} {measured['sizes'][key]} and T5-base {size}" for key, size in differing.items()]
        yield f"the backbone has {', '.join(sizes)}"
    elif not published and not config.get("path"):
        yield f"the weights are those of {shorten(config['name'])}, and the paper used {T5_BASE_NAMES[0]}"


def print_summary(run: RunState, console: Console) -> None:
    """Print the score, parameters, time, memory and files of one run, and the command that the user may need next."""
    result = run.result
    if result is None or result.dev is None:
        return
    head = f" and a head of {result.head_params:,}" if result.head_params else ""
    answers, messages = examine_scores(result, run.folder)
    test = f"test {_test_score(answers, result, result.test)}" if result.test else "test not scored (score_test=false)"
    lines = [
        test,
        *message_lines(result, messages),
        f"dev {result.dev['score']:.2f} at epoch {result.best_epoch}; {result.trainable_params:,} parameters "
        f"({result.trainable_percent:.4g} %){head}",
        f"{result.times['total']:.1f} s ({result.times['train']:.1f} s training, "
        f"{rate(result.times['examples_per_s'])}), peak memory {result.peak_memory['host'] / 2**20:,.0f} MiB",
    ]
    for line in lines:
        say(console, f"  {line}")
    folder = RunFolder(run.folder)
    command = predict_command(folder, result)
    no_weights = "This run kept no weights. Add keep=all and overwrite=true to the run's command to keep them."
    for line in (str(folder.result), f"next: {command}" if command else no_weights):  # not wrapped, to be copied
        say(console, f"  {line}", wrap=False)


def show_run(run: RunFolder, console: Console) -> None:
    """Print the state, the overrides and the notes of a run. If the run is finished, also print its summary."""
    known = run.state()
    result = known.result
    reached = f", {result.reached}" if result and known.state != "done" else ""
    say(console, f"{known.run_id}: {known.state}{reached}")
    if (file := run.hydra_folder / "overrides.yaml").is_file():
        say(console, f"  overrides: {' '.join(yaml.safe_load(file.read_text(encoding='utf-8')) or [])}")
    for note in result.notes if result else []:
        say(console, f"  note: {note}")
    if known.error:
        say(console, f"  {known.error}")
    if result is None and known.error and run.is_written_by_krona():
        say(console, f"  To train it again: rm -r {shlex.quote(below(run.path))}; then repeat its command")
    if result is not None and known.state == "done":
        print_summary(known, console)


def low_score(run: RunState, minimum: float | None) -> str | None:
    """Return a message if the score of a finished run is below ``min_score``, otherwise None."""
    if minimum is None or run.result is None or run.result.dev is None:
        return None
    split = "test" if run.result.test else "dev"
    score = (run.result.test or run.result.dev)["score"]
    return f"{run.run_id}: the {split} score {score:.2f} is below min_score={minimum:g}." if score < minimum else None


def outputs_option(run: RunState) -> str:
    """Return the option `` --outputs FOLDER`` that a command needs to find a run, or "" for outputs/."""
    folder = run.folder.parent
    return "" if folder == paths.OUTPUTS else f" --outputs {shlex.quote(str(folder))}"


def _test_score(answers: Mapping[str, Answers], result: Result, test: Scored) -> str:
    from krona.metrics.statistics import bootstrap, percentile_interval

    interval = ""
    if "test" in answers:
        low, high = percentile_interval(bootstrap([answers["test"]], score_metrics(result.config["task"])))
        interval = f" [{low:.1f}, {high:.1f}]"
    parts = ", ".join(f"{name} {value:.2f}" for name, value in test["parts"].items())
    rows = f"{plural(result.splits['test']['rows'], 'row')} of {describe_data(result)}"
    return f"{test['score']:.2f}{interval} ({parts}) on {rows}"
