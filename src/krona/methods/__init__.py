"""Branches: the modules that parameter-efficient methods add to a frozen backbone. One file each, torch only.

A branch is an ``nn.Module``, built as ``Branch(d_in, d_out, *, ...)`` for the layer or block that it is placed at.

``forward(x)``
    Return the update (..., d_out) for an input x (..., d_in). `krona.surgery` adds it beside a layer or block
    (*parallel*), after its output (*sequential*) or to its input (*before*).
``reset_parameters()``
    Initialise the parameters for training.
``delta()``
    Return the (d_out, d_in) matrix that merging adds to the layer's weight. Only branches with a linear update have it.
    It raises KronaError with the reason if an argument makes the update non-linear.

Optional members, found by name:

``shared``
    Names of the parameters that all places of an adapter share (Compacter's rule).
``update_rank``
    The highest possible rank of the update, for `krona params`.
``linear_part()``
    Return the matrix of an update that is linear except for a bias. Trackers use it where ``delta()`` raises.
``low_rank()``
    Return factors (d_in, r) and (r, d_out) of the update, for the export to peft's LoRA.
``fit_to_layer(kron_factors, d_in, d_out, counterparts)``
    Static: return the factors for a layer of another width (``method.fit_factors: nearest``).
``beside(layer, x)``
    Return ``layer(x) + self(x)`` faster.
``add_to(y, x, *others)``
    Return ``y + self(x)`` plus the updates of the other branches at the same place, faster.
"""
