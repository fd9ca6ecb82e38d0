"""Trackers: W&B, TensorBoard, MLflow. They are told of a run at its start, after each epoch and at its end.

    conf/logger/<name>.yaml   which trackers a run has, by name, each a ``_target_`` of this package
    tracking.Trackers         what a run speaks to; without trackers it does nothing
    guard.Guarded             keeps a tracker's failures, delays and random draws away from the training
    values, signals           what is told, under which keys; docs/tracking.md lists them

A run's result is the same to the bit with and without trackers. No step waits for one: all of it happens at the ends
of epochs.
"""
