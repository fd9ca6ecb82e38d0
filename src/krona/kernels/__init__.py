"""Fast Kronecker products, root-mean-square norms and dropout. This package depends only on torch."""
