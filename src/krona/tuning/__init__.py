"""Tuning on dev with Optuna: a search space as a YAML, a study as an SQLite file that resumes, plots of what it found.

Hydra's own Optuna plugin is not used: it asks for Optuna below 3; with a newer one it stores ranges under classes that
Optuna has deprecated, can't prune, and starts its count of trials again with each command.
"""
