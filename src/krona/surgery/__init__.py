"""Insert an adapter into a model, merge it and remove it. This package needs only torch and pydantic.

    from krona import surgery
    from krona.methods.kronecker import Kronecker

    surgery.insert(model, Kronecker, target_modules=["q", "v"], kron_factors=[[32, 24], [24, 32]])
    print(surgery.count(model))            # Count(trainable=158208, backbone=222903552, head=0)
    surgery.take_out(model)                # the model is bit-identical to the original

An adapter consists of branches (small modules that are added to backbone modules) and other trained weights. A model
has one adapter at a time. `layers` runs a module together with its branches. `krona.adapters` saves and loads
adapters.
"""

from krona.surgery.insertion import insert, take_out
from krona.surgery.layers import public_name
from krona.surgery.merging import bake, is_mergeable, merge, unmerge
from krona.surgery.preparation import is_prepared, prepare
from krona.surgery.state import (
    adapted_modules,
    adapter_state,
    copy_into,
    count,
    load_adapter_state,
    prompt_length,
    trainable_groups,
    trainable_state,
    update_rank,
)

__all__ = [
    "adapted_modules",
    "adapter_state",
    "bake",
    "copy_into",
    "count",
    "insert",
    "is_mergeable",
    "is_prepared",
    "load_adapter_state",
    "merge",
    "prepare",
    "prompt_length",
    "public_name",
    "take_out",
    "trainable_groups",
    "trainable_state",
    "unmerge",
    "update_rank",
]
