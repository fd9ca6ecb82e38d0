"""Benchmarks: all contestants in interleaved rounds of one process, with a frozen backbone and peft as references.

`python bench.py bench=training | latency | kronecker | pipeline | memory | serving | sweep` writes
``outputs/bench/<name>.json``, a table and a plot. docs/performance.md explains them.
"""
