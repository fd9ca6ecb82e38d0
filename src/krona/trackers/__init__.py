"""Trackers: W&B, TensorBoard, MLflow and all loggers of Lightning. docs/tracking.md has the settings and the keys."""
