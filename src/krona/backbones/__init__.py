"""Backbone models: where a T5 is read from, how it is loaded and shared, and how a method is inserted into it."""
