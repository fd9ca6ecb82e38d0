"""Backbones: source, config, loading, sharing between jobs, and insertion of a method."""
