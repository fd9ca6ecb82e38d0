"""Keep the most recently used values of a process, such as the backbone that several runs share."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

Value = TypeVar("Value")


class RecentValues(OrderedDict[Hashable, Value]):
    """A dict of the ``limit`` most recently used values."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key, or compute it with ``make``."""
        if key not in self:
            while len(self) >= self.limit:  # remove values first, because two backbones may not fit into memory
                self.popitem(last=False)
            self[key] = make()
        self.move_to_end(key)
        return self[key]
