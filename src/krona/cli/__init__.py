"""The command line: the job of train.py, the commands of `krona`, error messages and exit codes."""
