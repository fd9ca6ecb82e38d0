"""Fast Kronecker products, root-mean-square norms and dropout. The package depends on torch alone."""
