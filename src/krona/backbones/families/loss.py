"""The losses of training, summed over the labels of a batch. Labels of -100 are ignored."""

from torch import Tensor, nn

from krona.backbones.families.padding import IGNORED


def sum_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropy in fp32.

    Args:
        logits: (B, T, vocabulary) for text labels, (B, classes) for classes.
        labels: (B, T) token ids, or (B, 1) class numbers.
    """
    return nn.functional.cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def sum_squared_errors(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the squared error of a regression, for outputs and labels (B, 1)."""
    labels = labels.flatten()
    errors = outputs.flatten() - labels
    return (errors[labels != IGNORED] ** 2).sum()
