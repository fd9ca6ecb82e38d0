"""Insert adapters into a model, and switch, merge and remove them. This package needs only torch and pydantic.

    from krona import surgery
    from krona.methods.kronecker import Kronecker

    surgery.insert(model, Kronecker, target_modules=["q", "v"], kron_factors=[[32, 24], [24, 32]])
    print(surgery.count(model))            # Count(trainable=158208, backbone=222903552, head=0)
    surgery.take_out(model)                # the model is bit-identical to the original

An adapter consists of branches (small modules that are added to modules of the backbone) and of other weights that
train. A model may contain several adapters, and at most one of them is active (`insertion`). With `mixed`, each row of
a batch has its own adapter. The module `wrapper` runs the branches at a module of the backbone, and `state` lists the
adapters of a model. `parameter_swapping` stores the weights that are not in the model at present. `merging` merges an
adapter into the weights, and `trainable` counts and copies the trainable parameters. `krona.adapters` saves, loads and
sums adapters.
"""

from krona.methods.placement import InsertOptions
from krona.surgery.insertion import activate, insert, take_out
from krona.surgery.merging import merge, unmerge
from krona.surgery.mixed_batch import mixed
from krona.surgery.saving import bake
from krona.surgery.state import adapted_modules
from krona.surgery.targets import find_places, widths
from krona.surgery.trainable import (
    Count,
    adapter_state,
    count,
    load_trainable_state,
    trainable_state,
    trained_names,
    update_rank,
)
from krona.surgery.wrapper import Adapted, public_name

__all__ = [
    "Adapted",
    "Count",
    "InsertOptions",
    "activate",
    "adapted_modules",
    "adapter_state",
    "bake",
    "count",
    "find_places",
    "insert",
    "load_trainable_state",
    "merge",
    "mixed",
    "public_name",
    "take_out",
    "trainable_state",
    "trained_names",
    "unmerge",
    "update_rank",
    "widths",
]
