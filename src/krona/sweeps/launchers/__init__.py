"""Where the runs of a multirun take place: processes of this machine, or a SLURM cluster's.

Hydra's launchers for joblib and submitit end the whole sweep, or stop looking at it, where one job is killed. These do
the same over the same engines (joblib's loky, submitit) and the same settings, and see each job to its end.
"""
