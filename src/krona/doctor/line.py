"""Line of the doctor's report: a fact, a note, or something broken with the command that mends it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["fine", "note", "broken"]


@dataclass(frozen=True)
class Line:
    """``about``: a word or two; ``mend``: what to type; a note may have none."""

    about: str
    text: str
    level: Level = "fine"
    mend: str | None = None
