"""Test the lines that a multirun prints for its jobs, with the remaining time."""

from pathlib import Path

from krona.jobs.job import Job
from krona.sweeps.progress import SweepProgress
from report.generate import make_result


def ended(state: str = "done", seconds: float = 30.0) -> Job:
    result = make_result()
    result.times["total"] = seconds
    return Job(result.run_id, state, Path("/outputs"), result)  # type: ignore[arg-type]


def test_each_job_is_counted_as_it_starts_and_ends() -> None:
    progress = SweepProgress(3)
    assert progress.start_line("seed=0") == "1/3  seed=0 starts"
    assert progress.end_line(ended("skipped")).startswith("1/3  done already  krona-")
    assert progress.seconds_left is None
    assert progress.end_line(ended(seconds=30)).endswith("  30 s; about 30 s left")
    assert progress.end_line(ended(seconds=50)).endswith("  50 s")


def test_the_remaining_time_depends_on_the_jobs_at_a_time() -> None:
    progress = SweepProgress(12, at_a_time=2)
    for seconds in (20.0, 40.0):
        progress.end_line(ended(seconds=seconds))
    assert progress.seconds_left == 30.0 * 5
    assert "failed  x: no" in progress.end_line(Job("x", "failed", Path("/outputs"), error="no"))
    assert progress.seconds_left == 30.0 * 5
