"""One axis of a search, as its YAML or its study has it."""

from dataclasses import dataclass
from typing import Any

Choice = float | int | str | bool


@dataclass(frozen=True)
class Axis:
    """One key of the command line: a range of numbers, or choices."""

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Choice, ...] = ()
    needs: str = ""  # the key that a config must have for this axis to mean something

    def suggest(self, trial: Any) -> None:
        """Let the study choose this axis' value in a trial; one that was put back has its own already."""
        if self.choices:
            trial.suggest_categorical(self.key, self.choices)
        else:
            trial.suggest_float(self.key, self.low, self.high, log=self.log)

    def words(self) -> str:
        """The axis as the user reads it, and as one study's is told from another's."""
        if self.choices:
            return f"{self.key} {'|'.join(map(str, self.choices))}"
        return f"{self.key} {self.low!r}…{self.high!r}{' log' if self.log else ''}"
