"""Rows and tokens of a run's data: counted where the data is available, else GLUE's known ones."""

import math
import random
from dataclasses import dataclass
from statistics import fmean

from krona.backbones.families import Family
from krona.backbones.tokenizer import load_tokenizer
from krona.config.settings import Run
from krona.messages import KronaError
from krona.training.rows import load_splits

# train, dev and test under protocol=table1; tokens of a source on average, and of the longest of 100 (at most 128).
# Those of cola, rte and sst2: counted with T5's tokenizer and this project's templates; the others' are from the mean
# lengths that are known of GLUE, so to about 15 %.
GLUE = {
    "cola": (8_551, 521, 522, 13.4, 30.6),
    "rte": (2_490, 138, 139, 75.3, 128.0),
    "mrpc": (3_668, 204, 204, 62.0, 100.0),
    "sst2": (66_349, 1_000, 872, 16.7, 58.9),
    "stsb": (5_749, 750, 750, 42.0, 110.0),
    "mnli": (392_702, 9_832, 9_815, 52.0, 128.0),
    "qnli": (103_743, 1_000, 5_463, 62.0, 128.0),
    "qqp": (362_846, 1_000, 40_430, 44.0, 115.0),
}
OF_A_BATCH = 100  # the batch of `GLUE`'s longest
SAMPLED = 2_000  # sources that are tokenised


@dataclass(frozen=True)
class Lengths:
    """Rows of the three parts, and tokens of a source: on average, and with padding in a batch."""

    train: int
    dev: int
    test: int
    mean: float
    longest: float  # of a batch of `OF_A_BATCH`
    counted: bool  # from the data itself

    def padded(self, batch_size: int) -> float:
        """Tokens that a row takes in a batch: as many as the longest of it has."""
        return self.mean + (self.longest - self.mean) * min(1.0, math.log1p(batch_size) / math.log1p(OF_A_BATCH))


def lengths_of(settings: Run, family: type[Family]) -> Lengths:
    """The rows, and their tokens as ``family`` reads them.

    Raises KronaError for data that is neither available nor GLUE.
    """
    data, task = settings.data, settings.task
    if data.kind == "hub":
        if task.name not in GLUE:
            raise KronaError(f"the rows of {task.name} are not known before they are loaded: data=tsv data.path=FOLDER")
        train, dev, test, mean, longest = GLUE[task.name]
        most = settings.max_source_length
        return Lengths(min(train, data.train_rows or train), dev, test, min(mean, most), min(longest, most), False)
    return _counted(settings, family)


def _counted(settings: Run, family: type[Family]) -> Lengths:
    splits, drawn = load_splits(settings), random.Random(0)
    reader, size = family(settings.task, load_tokenizer(settings.backbone)), len(splits.train)
    chosen = drawn.sample(range(size), min(SAMPLED, size))
    rows = reader.sources(splits.train, chosen, longest=settings.max_source_length)["input_ids"]
    tokens = [len(ids) for ids in rows]
    longest = [max(drawn.choices(tokens, k=OF_A_BATCH)) for _ in range(200)]
    return Lengths(size, len(splits.dev), len(splits.test), fmean(tokens), fmean(longest), True)
