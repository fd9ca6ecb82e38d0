"""Format the progress lines of a multirun: the number of a job, its scores and the remaining time."""

from dataclasses import dataclass, field

from krona.formatting import duration, scores
from krona.jobs.job import WORDS, Job


@dataclass
class SweepProgress:
    """A counter of the jobs of a multirun. ``at_a_time`` jobs run at the same time."""

    total: int
    at_a_time: int = 1
    started: int = 0
    ended: int = 0
    seconds: list[float] = field(default_factory=list)  # the times of the finished jobs

    def start_line(self, name: str) -> str:
        """Count a job that starts, and return a line such as ``3/12  NAME starts``."""
        self.started += 1
        return f"{self.started}/{self.total}  {name} starts"

    def end_line(self, job: Job) -> str:
        """Count a job that ended, and return ``3/12  done  ID  dev 61.20  test 58.90  9 s; about 80 s left``."""
        self.ended += 1
        if job.state == "done" and job.result is not None:
            self.seconds.append(float(job.result.times["total"]))
        left = self.seconds_left
        return f"{self.ended}/{self.total}  {_format(job)}" + (f"; about {duration(left)} left" if left else "")

    @property
    def seconds_left(self) -> float | None:
        """The remaining seconds by the mean time of finished jobs, or None before the first and after the last job."""
        left = self.total - self.ended
        if not self.seconds or not left:
            return None
        return sum(self.seconds) / len(self.seconds) * -(-left // min(self.at_a_time, left))


def _format(job: Job) -> str:
    result = job.result
    if job.error is not None or result is None:
        return f"{WORDS[job.state]}  {job.run_id}: {job.error}"
    dev, test = (part["score"] if part else None for part in (result.dev, result.test))
    return "  ".join([WORDS[job.state], job.run_id, scores(dev, test), duration(result.times["total"])])
