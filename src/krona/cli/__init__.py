"""Command line: train.py's job, `krona` and its commands, error messages and exit codes."""
