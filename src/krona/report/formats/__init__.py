"""Report formats, one file each: terminal, Markdown, LaTeX, CSV, HTML and SVG."""
