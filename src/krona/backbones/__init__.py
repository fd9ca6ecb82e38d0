"""Backbone models: source, loading, sharing between jobs, and insertion of a method."""
