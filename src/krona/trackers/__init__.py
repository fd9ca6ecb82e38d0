"""Trackers, which log the values of a run with W&B, TensorBoard, MLflow or any other logger of Lightning.

docs/tracking.md describes the settings and the logged keys.
"""
