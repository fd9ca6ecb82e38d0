"""Launchers for a multirun's runs: processes of this machine, or a SLURM cluster.

With Hydra's own launchers for joblib and submitit, one killed job ends the whole sweep or stops the waiting. These use
the same engines and settings, and follow each job to its end.
"""
