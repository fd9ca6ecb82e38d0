"""Tuning on dev with Optuna: a search space as a YAML, and a study that resumes (`krona.outputs.study`).

Hydra's own Optuna plugin is not used: it asks for Optuna below 3; with a newer one it stores ranges under classes that
Optuna has deprecated, can't prune, and starts its count of trials again with each command.
"""
