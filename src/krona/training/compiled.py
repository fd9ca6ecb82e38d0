"""The loss of a batch as one compiled graph (``trainer.compile``)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from krona.backbones.families import Batch
from krona.messages import KronaError, shorten

Loss = Callable[[Any, Batch], Tensor]
BACKEND = "inductor"


def compile_loss(loss: Loss) -> Loss:
    """Return ``loss(model, batch)`` as a graph that is compiled at the first call, for all numbers of rows and lengths.

    A batch of one row, and labels of fewer than three tokens, have graphs of their own.

    Raises:
        KronaError: when it is called, if torch cannot compile the model.
    """
    from torch._dynamo import maybe_mark_dynamic  # imported here: it takes a second, and few runs compile
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    torch.compiler.reset()  # graphs of this process's earlier runs would count against the limit
    graph: Loss = torch.compile(loss, fullgraph=True, backend=BACKEND)

    def call(model: Any, batch: Batch) -> Tensor:
        for values in batch.values():
            maybe_mark_dynamic(values, [0, 1])
        try:
            return graph(model, batch)
        except (TorchDynamoException, InductorError) as error:
            why = shorten(" ".join(str(error).split()), 200)
            raise KronaError(
                f"trainer.compile: torch could not compile this model: {why}. On a CPU it needs a C++ compiler. "
                "Set trainer.compile=false to train without it."
            ) from error

    return call
