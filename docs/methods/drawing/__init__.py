"""Drawings of methods: what a branch computes, and where it is in a T5 block."""
