"""A batch's loss as one compiled graph (``trainer.compile``)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from krona.backbones.families import Batch
from krona.messages import KronaError, shortened

Loss = Callable[[Any, Batch], Tensor]
BACKEND = "inductor"


def compiled(loss: Loss) -> Loss:
    """``loss`` of a model and a batch, compiled at the first call: one graph for all numbers of rows and lengths.

    A batch of one row, and labels of fewer than three tokens, are graphs of their own.

    Raises:
        KronaError: when it is called, where the compiler does not work.
    """
    from torch._dynamo import maybe_mark_dynamic  # here: it takes a second, and few runs compile
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
            why = shortened(" ".join(str(error).split()), 200)
            raise KronaError(
                f"trainer.compile: torch could not compile this model: {why}. On a CPU it needs a C++ compiler. "
                "trainer.compile=false trains without"
            ) from error

    return call
