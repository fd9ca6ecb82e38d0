"""Benches: every contestant in interleaved rounds of one process, beside its floor and beside peft.

`python bench.py bench=training | latency | kronecker | pipeline | memory | sweep` writes ``outputs/bench/<name>.json``,
a table and a plot. docs/performance.md says what each one times and how to read it.
"""
