"""Fast forms of the Kronecker product, of T5's LayerNorm and of its dropout, in torch alone."""
