"""Launchers for the runs of a multirun: processes of this machine, or a SLURM cluster.

With Hydra's own launchers for joblib and submitit, one killed job ends the sweep or makes it wait forever. These use
the same engines and settings, and follow each job to its end.
"""
