"""Read the forgetting of a run from its result: the increase of the pretraining loss on held-out text."""

from collections.abc import Mapping
from typing import Any

from krona.runs.result import Result


def loss_increase(result: Result) -> float | None:
    """Return the trained model's loss minus the backbone's loss, or None if forgetting was not measured."""
    return None if result.forgetting is None else _difference(result.forgetting)


def format_forgetting(forgetting: Mapping[str, Any]) -> str:
    """Return a text such as ``+0.312: the span corruption loss per token changes from 2.104 to 2.416 on …``.

    Args:
        forgetting: the value of the key ``forgetting`` in result.json.
    """
    losses, difference = forgetting["loss"], _difference(forgetting)
    if difference is None:
        return f"the {forgetting['objective']} loss is not a number: {losses}"
    between = ", ".join(
        f"{scale} {loss:.3f}" for scale, loss in losses.items() if scale not in "01" and loss is not None
    )
    return (
        f"{difference:+.3f}: the {forgetting['objective']} loss per token changes from {losses['0']:.3f} "
        f"to {losses['1']:.3f} on {forgetting['texts']} texts of {forgetting['text']}. The losses for other scales of "
        f"the update are: {between}"
    )


def _difference(forgetting: Mapping[str, Any]) -> float | None:
    before, after = (forgetting["loss"].get(scale) for scale in ("0", "1"))
    return None if before is None or after is None else after - before
