"""The branches of all methods. A branch is a small module that a method adds to a layer or block of the backbone.

Each method has one file, which depends on torch but not on transformers. A branch is an ``nn.Module`` that computes an
update for one layer or block. ``Branch(d_in, d_out, *, ...)`` creates a branch for the input and output widths of this
layer or block.

Every branch has these methods:

``forward(x)``
    Return the update (..., d_out) for an input x (..., d_in). The placement determines how `krona.surgery` uses the
    branch at a layer or block:

    - *parallel*: the branch receives the layer's input. The update is added to the layer's output.
    - *sequential*: the branch receives the layer's output. The update is added to the layer's output.
    - *before*: the branch receives the layer's input. The layer then receives the sum of this input and the update.
``reset_parameters()``
    Initialise the parameters for training.

A branch whose update is linear also has this method:

``delta()``
    Return the matrix (d_out, d_in) that merging adds to the layer's weight. Raise KronaError with the reason if the
    update cannot be merged, for example because an argument makes the update non-linear.

A branch may also have these members:

``shared``
    The names of the parameters that all branches of an adapter share.
``update_rank``
    The maximum rank of the update, which `krona params` shows.
``linear_part()``
    Return the matrix of an update that is linear except for a bias. Norms and ranks are computed from this matrix.
``low_rank()``
    Return factors (d_in, r) and (r, d_out) of the update without its bias, or None. The export to peft's LoRA uses
    these factors.
``singular_values()``
    Return the singular values of the update without its bias, or None if the full matrix is needed.
``fit_to_layer(kron_factors, d_in, d_out, replacements)``
    A static method that returns factor shapes for a layer with the widths d_in and d_out: ``kron_factors`` if these
    shapes fit the layer, otherwise other shapes (``method.fit_factors: nearest``). ``replacements`` maps
    shapes of A in the paper to the shapes that replace them in this backbone.
``needs``, ``init_rows`` and ``prepare(matrix)``
    ``prepare`` computes initial values from a matrix. `krona.surgery.prepare` calls this method before training, with
    the matrix that ``needs`` names: ``"weight"`` is the layer's weight (d_out, d_in), ``"gradient"`` is the gradient of
    the loss with respect to this weight, and ``"covariance"`` is the covariance (d_in, d_in) of the layer's inputs. The
    gradient and the covariance are computed from the first ``init_rows`` training rows. If ``needs`` is None,
    ``prepare`` is not called. An adapter file and a checkpoint also contain the buffers of a branch, so that the values
    are computed only once.
``norm_change(W)``
    Return ‖W + ΔW‖² - ‖W‖² for each row of the layer's weight W (d_out, d_in), without computing the update ΔW, or None
    if this is not possible. DoRA's magnitude uses this method (`krona.methods.magnitude`).
``bind(layer, transposed)``
    Store the backbone's linear layer to which the branch is added. A branch has this method if its update depends on
    the layer's weight. ``transposed`` is true if the layer stores the transposed weight, as GPT-2's ``Conv1D`` does.
``beside(layer, x)``
    Return ``layer(x) + self(x)``, computed faster than with two separate calls.
``add_to(y, x, *others)``
    Return the sum of y, ``self(x)`` and the updates of the other branches at the same layer or block, computed faster
    than with separate calls.
"""
