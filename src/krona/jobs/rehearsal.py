"""A rehearsal (``trainer.fast_dev_run=true``): a batch of each split goes through a run that keeps nothing."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from krona.jobs.job import Job, JobSpec
from krona.messages import KronaError
from krona.runs.folder import RunFolder
from krona.screen import say


def rehearse(spec: JobSpec, console: Console, run: Callable[[JobSpec, Console], Job]) -> Job:
    """Run a job in a folder that is removed, for one epoch and without loggers, as Lightning's fast_dev_run does.

    Raises:
        KronaError: as the run itself; or in a multirun, whose results are compared.
    """
    if spec.multirun:
        raise KronaError("trainer.fast_dev_run: it keeps no result that a sweep could have; leave out -m")
    trainer = dict(spec.config["trainer"])
    trainer["max_epochs"] = min(1, trainer["max_epochs"])
    with tempfile.TemporaryDirectory(prefix="krona-") as folder:
        config = {**spec.config, "trainer": trainer, "logger": {}}
        job = run(replace(spec, config=config, outputs=Path(folder)), console)
        log = RunFolder(job.folder).log
        if job.state == "failed" and log.is_file() and "Traceback" in (text := log.read_text(encoding="utf-8")):
            console.print(text[text.index("Traceback") :], highlight=False, markup=False)  # its folder goes
    if job.state == "done":
        count = int(spec.settings.trainer.fast_dev_run)
        batches = "a batch" if count == 1 else f"{count:,} batches"
        say(console, f"  fast_dev_run: {batches} each of train, dev and test went through; nothing is kept")
    return replace(job, result=None)
