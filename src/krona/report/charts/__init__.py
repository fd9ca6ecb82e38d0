"""Draw charts as SVG with matplotlib. They are readable on light and dark pages, and their tooltips show values."""
