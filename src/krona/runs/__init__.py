"""Read and write the files in outputs/: results, predictions, claims, sweeps and studies.

The modules of this package do not import torch or Hydra.
"""
