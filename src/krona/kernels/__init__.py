"""Fast Kronecker products, T5 LayerNorm and dropout. Needs torch only."""
