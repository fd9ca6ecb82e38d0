"""`krona diff`: compare two runs, or two methods."""
