"""Adapters as runs leave them: their origin, how they are found, and a start from one."""
