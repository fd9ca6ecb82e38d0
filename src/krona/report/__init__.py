"""Build reports and comparisons from result.json files.

This package does not use torch. Slow libraries are imported only by the functions that need them.
"""
