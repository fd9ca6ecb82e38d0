"""Compute scores, intervals and paired tests without a download."""
