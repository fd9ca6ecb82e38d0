"""Comparison of two runs or two methods: settings, scores, a paired test and changed predictions."""
