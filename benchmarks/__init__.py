"""Benchmarks of time and memory, which compare krona's methods with a frozen backbone and with peft.

``python bench.py bench=NAME`` runs a benchmark. NAME is training, latency, kronecker or memory. The results are written
to ``outputs/bench/<name>.json`` and printed as a table. docs/performance.md explains the benchmarks.
"""
