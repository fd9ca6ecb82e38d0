"""Print the summary of a run, and show a stored run."""

import shlex
from collections.abc import Mapping

import yaml
from rich.console import Console

from krona.formatting import below, rate, say
from krona.messages import plural
from krona.metrics.scores.metric import Answers
from krona.paths import OUTPUTS
from krona.runs.description import describe_data, predict_command
from krona.runs.folder import RunFolder, RunState
from krona.runs.result import Result, Scored
from krona.runs.suspicious_scores import examine_scores, message_lines


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
    return "" if folder == OUTPUTS else f" --outputs {shlex.quote(str(folder))}"


def _test_score(answers: Mapping[str, Answers], result: Result, test: Scored) -> str:
    from krona.metrics.statistics import bootstrap, percentile_interval
    from krona.runs.predictions import score_metrics

    interval = ""
    if "test" in answers:
        low, high = percentile_interval(bootstrap([answers["test"]], score_metrics(result.config["task"])))
        interval = f" [{low:.1f}, {high:.1f}]"
    parts = ", ".join(f"{name} {value:.2f}" for name, value in test["parts"].items())
    rows = f"{plural(result.splits['test']['rows'], 'row')} of {describe_data(result)}"
    return f"{test['score']:.2f}{interval} ({parts}) on {rows}"
