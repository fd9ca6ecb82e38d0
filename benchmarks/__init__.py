"""Benchmarks of time and memory. A frozen backbone and the peft library are references for krona's methods.

``python bench.py bench=NAME`` runs a benchmark. NAME is training, latency, kronecker or memory. The results are written
to ``outputs/bench/<name>.json`` and printed as a table. docs/performance.md explains the benchmarks.
"""
