"""Benchmarks of training time, which compare krona's methods with a frozen backbone and with peft.

``python bench.py bench=training`` runs the benchmark, prints a table, and writes ``outputs/bench/training.json``.
docs/notebook.md explains the rows.
"""
