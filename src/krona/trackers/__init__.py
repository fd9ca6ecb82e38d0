"""Trackers: W&B, TensorBoard, MLflow and every logger of Lightning. A run calls them at its start, epochs and end.

A result is bit-identical with and without trackers. They are called between epochs, so no training step waits for one.
docs/tracking.md lists the settings and the keys.
"""
