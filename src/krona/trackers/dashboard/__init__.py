"""The W&B workspace and report as code: their panels, a check of the keys against runs, and the spec."""
