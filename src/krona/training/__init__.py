"""Train and evaluate one run: load the data and the backbone, train, evaluate, and write the files."""
