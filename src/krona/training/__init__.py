"""One run: rows, model, training, evaluation and files."""
