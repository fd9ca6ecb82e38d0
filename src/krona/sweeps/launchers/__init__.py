"""Launchers: classes of Hydra that run the jobs of a multirun in processes on this machine or on a SLURM cluster.

With Hydra's own launchers for joblib and submitit, a killed job ends the sweep, or the sweep waits forever. The
launchers in this package use the same engines and settings, and detect killed jobs.
"""
