"""Which name was meant: the nearest of those that exist, for error messages."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    """`did you mean 'label'? (there are: idx, label)`, or `there are idx, label` where nothing is near."""
    known = [str(name) for name in names]
    folded = {name.casefold(): name for name in known}
    near = get_close_matches(wrong.casefold(), list(folded), n=1, cutoff=0.6)
    there = ", ".join(known) or "none"
    return f"did you mean '{folded[near[0]]}'? (there are: {there})" if near else f"there are {there}"
