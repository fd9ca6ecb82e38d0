"""Build reports and comparisons from result.json files, without importing torch."""

FORMATS = ("csv", "html", "latex", "terminal")
