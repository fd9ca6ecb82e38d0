"""Benchmarks of time and memory. A frozen backbone and the peft library are references for krona's methods.

``python bench.py bench=NAME`` runs a benchmark. NAME is training, latency, kronecker or memory. The
results are written to ``outputs/bench/<name>.json``, printed as a table and drawn as a plot. docs/performance.md
explains the benchmarks.
"""
