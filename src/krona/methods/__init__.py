"""The branches that parameter-efficient tuning adds to a frozen backbone: torch only, one file a branch.

A branch is an ``nn.Module``, built as ``Branch(d_in, d_out, *, ...)`` for the layer or block that it is placed at.

``forward(x)``
    the update for an input ``x`` of shape (..., d_in): (..., d_out). `krona.surgery` adds it beside a layer or a block
    (*parallel*), after its output (*sequential*) or to its input (*before*).
``reset_parameters()``
    the start of training.
``delta()``
    only if the update is linear in ``x``: the (d_out, d_in) matrix that a merge adds to the layer's weight. It raises a
    KronaError with the reason if an argument of the branch makes the update something else.

Optional, found by name:

``shared``, ``update_rank``
    names of parameters that all places share (Compacter's rule); the highest rank of the update (`krona params`).
``linear_part()``
    of a branch that is linear but for a bias: the matrix whose size and rank trackers follow, where ``delta()`` raises.
``low_rank()``
    (d_in, r) and (r, d_out): the update's exact factors, for a form of low rank. peft's LoRA is written from them.
``fit_to_layer(kron_factors, d_in, d_out, counterparts)``
    static: the factors for a layer of another width (``method.fit_factors: nearest``, `krona.backbones.with_method`).
``beside(layer, x)``, ``add_to(y, x, *others)``
    faster forms: ``layer(x) + self(x)``, and ``y + self(x)`` plus the updates of the other branches at its place.
"""
