"""Trackers: W&B, TensorBoard, MLflow. A run calls them at its start, after each epoch and at its end.

    conf/logger/<name>.yaml   the trackers of a run, by name, each a ``_target_`` of this package
    guard.Guarded             keeps a tracker's failures, delays and random draws away from the training
    values, update_norms      the logged values and their keys; docs/tracking.md lists them

A run's result is bit-identical with and without trackers. They are called between epochs only: no step waits for one.
"""
