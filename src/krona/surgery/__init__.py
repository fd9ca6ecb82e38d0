"""Insertion of branches into a T5, their training, merging, saving and removal: torch only.

    from krona import surgery
    from krona.methods.kronecker import Kronecker

    surgery.insert(model, Kronecker, target_modules=["q", "v"], kron_factors=[[32, 24], [24, 32]])
    print(surgery.count(model))            # Count(trainable=158208, backbone=222903552, head=0)
    surgery.take_out(model)                # the model is bit for bit what it was

``target_modules`` are patterns over module names (`targets`), ``placement`` says where a branch acts at such a module:
beside, after or before it (`wrapper`). Several adapters may be in one model, one of them active (`insertion`).
`mixed` gives each row of a batch its own. `standing_aside` keeps the backbone's own weights meanwhile. `merging` puts
an adapter into the weights, `leaving` and `folding` do so for good, `trainable` counts and copies what trains.
`krona.adapters` saves, loads and sums adapters.
An extra for inference of your own, and for bench.py: `krona.surgery.inference`. Training and evaluation don't use it.
"""

from krona.surgery.folding import Folded, fold
from krona.surgery.insertion import activate, insert, take_out
from krona.surgery.leaving import bake
from krona.surgery.merging import merge, unmerge
from krona.surgery.mixed_batch import mixed
from krona.surgery.targets import find_places, widths, widths_or_none
from krona.surgery.trainable import (
    Count,
    adapter_state,
    count,
    load_trainable_state,
    trainable_state,
    trained_names,
    update_rank,
)
from krona.surgery.wrapper import Adapted, Placement, adapted_modules, public_name

__all__ = [
    "Adapted",
    "Count",
    "Folded",
    "Placement",
    "activate",
    "adapted_modules",
    "adapter_state",
    "bake",
    "count",
    "find_places",
    "fold",
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
    "widths_or_none",
]
