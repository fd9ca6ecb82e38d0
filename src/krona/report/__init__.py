"""Build reports and comparisons from result.json files, without importing torch."""

FORMATS = ("csv", "html", "latex", "md", "terminal")
COLUMN_MM = 84.0  # the width of a column of a two-column article
