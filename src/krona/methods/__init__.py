"""The branches that parameter-efficient tuning adds to a frozen backbone: torch only, one file a branch.

A branch is an ``nn.Module`` built as ``Branch(d_in, d_out, *, ...)`` for the layer or block that it stands beside.
It answers up to three questions:

``forward(x)``
    the update for an input ``x`` of shape (..., d_in): (..., d_out). What it is added to is placement's affair
    (`krona.surgery`): beside a layer or a block (*parallel*), or on the output of one (*sequential*).
``reset_parameters()``
    how training starts.
``delta()``
    only where the update is linear in ``x`` and has no bias: the (d_out, d_in) matrix that a merge adds to the
    layer's weight.
"""
