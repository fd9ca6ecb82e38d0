"""Compute the losses of training. They are summed over the labels of a batch. Labels of -100 are ignored."""

from torch import Tensor, nn

from krona.backbones.families.padding import IGNORED


def sum_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the summed cross entropy in fp32.

    Args:
        logits: the logits (B, T, vocabulary) for labels that are texts, or (B, classes) for labels that are classes.
        labels: the token ids (B, T), or the indices of the classes (B, 1).
    """
    return nn.functional.cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def sum_squared_errors(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the summed squared error of a regression, for outputs and labels of shape (B, 1)."""
    labels = labels.flatten()
    errors = outputs.flatten() - labels
    return (errors[labels != IGNORED] ** 2).sum()
