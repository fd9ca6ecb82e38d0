"""From result.json files to tables, a page and comparisons. No torch here, and nothing slow at import."""
