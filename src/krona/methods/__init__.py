"""The branches that parameter-efficient tuning adds to a frozen backbone: torch only, one file a branch.

A branch is an ``nn.Module`` built as ``Branch(d_in, d_out, *, ...)`` for the layer or block that it stands at.
It answers up to three questions:

``forward(x)``
    the update for an input ``x`` of shape (..., d_in): (..., d_out). What it is added to is placement's affair
    (`krona.surgery`): beside a layer or a block (*parallel*), on the output of one (*sequential*), or on the input of
    one (*before*).
``reset_parameters()``
    how training starts.
``delta()``
    only where the update is linear in ``x``: the (d_out, d_in) matrix that a merge adds to the layer's weight. It
    raises a KronaError that says why where a switch of the branch makes the update something else.

Trackers follow the size and rank of ``delta()``. A branch that is linear but for a bias may offer ``linear_part()``
for them: the same matrix, where ``delta()`` must refuse.

For speed alone, and with the same result, it may offer ``beside(layer, x)``, which is ``layer(x) + self(x)`` for the
linear layer that it stands beside, and ``add_to(y, x, *others)``, which is ``y + self(x)`` and the same of the other
branches at its place. ``parts()`` says what it is made of, for `krona.surgery.inference`.

And it may state two facts: ``shared``, names of parameters that all its places have in common (Compacter's rule), and
``update_rank``, the highest rank that its update can have (for the table of `krona params`).
"""
