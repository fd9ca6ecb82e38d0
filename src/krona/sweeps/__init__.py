"""Run many jobs with one command: plan and start sweeps, show their status, and search for hyper-parameters."""
