"""Insert an adapter into a model, merge it and remove it. This package needs only torch and pydantic.

    from krona import surgery
    from krona.methods.kronecker import Kronecker

    surgery.insert(model, Kronecker, target_modules=["q", "v"], kron_factors=[[32, 24], [24, 32]])
    print(surgery.count(model))            # Count(trainable=158208, backbone=222903552, head=0)
    surgery.take_out(model)                # the model is bit-identical to the original

An adapter consists of branches (small modules that are added to backbone modules) and other trained weights. A model
has one adapter at a time. `wrapper` runs a module together with its branches. `krona.adapters` saves and loads
adapters.
"""

from krona.methods.placement import InsertOptions as InsertOptions
from krona.surgery.insertion import insert as insert
from krona.surgery.insertion import take_out as take_out
from krona.surgery.merging import bake as bake
from krona.surgery.merging import is_mergeable as is_mergeable
from krona.surgery.merging import merge as merge
from krona.surgery.merging import unmerge as unmerge
from krona.surgery.preparation import is_prepared as is_prepared
from krona.surgery.preparation import prepare as prepare
from krona.surgery.state import adapted_modules as adapted_modules
from krona.surgery.state import adapter_state as adapter_state
from krona.surgery.state import copy_into as copy_into
from krona.surgery.state import count as count
from krona.surgery.state import load_adapter_state as load_adapter_state
from krona.surgery.state import prompt_length as prompt_length
from krona.surgery.state import trainable_groups as trainable_groups
from krona.surgery.state import trainable_state as trainable_state
from krona.surgery.state import update_rank as update_rank
from krona.surgery.target_modules import match_modules as match_modules
from krona.surgery.target_modules import widths as widths
from krona.surgery.wrapper import public_name as public_name
