"""Compile the computation of the loss into one graph with torch.compile (``trainer.compile``)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from krona.backbones.families import Batch
from krona.messages import KronaError, shorten

Loss = Callable[[Any, Batch], Tensor]
BACKEND = "inductor"


def compile_loss(loss: Loss) -> Loss:
    """Return a function that computes ``loss(model, batch)`` as one compiled graph.

    The graph is compiled at the first call, and then used for batches with any number of rows and any length. Only
    batches of a single row and batches whose labels have fewer than three tokens get their own graphs.

    Raises:
        KronaError: torch cannot compile the model. The returned function raises this error at its first call.
    """
    from torch._dynamo import maybe_mark_dynamic  # imported here because the import takes a second and is rarely needed
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    torch.compiler.reset()  # torch limits the number of graphs per process, and includes those of earlier runs
    graph: Loss = torch.compile(loss, fullgraph=True, backend=BACKEND)

    def call(model: Any, batch: Batch) -> Tensor:
        for values in batch.values():
            maybe_mark_dynamic(values, [0, 1])
        try:
            return graph(model, batch)
        except (TorchDynamoException, InductorError) as error:
            why = shorten(" ".join(str(error).split()), 200)
            raise KronaError(
                f"trainer.compile=true, but torch could not compile this model: {why}. On a CPU, torch needs a C++ "
                "compiler. To train without compilation, set trainer.compile=false."
            ) from error

    return call
