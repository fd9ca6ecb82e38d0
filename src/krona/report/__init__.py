"""Build reports and comparisons from result.json files. This package does not use torch."""

FORMATS = ("csv", "html", "latex", "md", "terminal")
