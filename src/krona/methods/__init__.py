"""Branches: the modules that parameter-efficient methods add to a frozen backbone.

Each method has one file, which depends on torch but not on transformers. A branch is an ``nn.Module`` that computes an
update for one layer or block. ``Branch(d_in, d_out, *, ...)`` creates it for the widths of this layer or block.

Every branch has these methods:

``forward(x)``
    Return the update (..., d_out) for an input x (..., d_in). `krona.surgery` computes the update from the input of the
    layer or block and adds it to the output (*parallel*), or computes it from the output and adds it to the output
    (*sequential*), or computes it from the input and adds it to the input (*before*).
``reset_parameters()``
    Initialise the parameters for training.

A branch whose update is linear also has this method:

``delta()``
    Return the (d_out, d_in) matrix that merging adds to the layer's weight. It raises KronaError with the reason if the
    update cannot be merged, for example because an argument makes it non-linear.

A branch may also have these members:

``shared``
    The names of the parameters that all branches of an adapter share, such as Compacter's rule.
``update_rank``
    The highest possible rank of the update. `krona params` shows it.
``linear_part()``
    Return the matrix of an update that is linear except for a bias. Trackers use it if ``delta()`` raises an error.
``low_rank()``
    Return factors (d_in, r) and (r, d_out) of the update. The export to peft's LoRA uses them.
``fit_to_layer(kron_factors, d_in, d_out, counterparts)``
    A static method that returns factors for a layer of another width (``method.fit_factors: nearest``).
``bind(layer, transposed)``
    Store the linear layer beside the branch, for an update that depends on its weight (HiRA). Insertion calls it.
``beside(layer, x)``
    Return ``layer(x) + self(x)``, computed faster than by the two calls.
``add_to(y, x, *others)``
    Return the sum of y, ``self(x)`` and the updates of the other branches at the same layer or block, computed faster
    than by separate calls.
"""
