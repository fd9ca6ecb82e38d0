"""Log the values of a run with W&B, TensorBoard, MLflow or any other Lightning logger.

docs/tracking.md describes the settings and the logged keys.
"""
