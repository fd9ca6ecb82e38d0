"""Charts as SVG, drawn by matplotlib: readable on light and dark pages, values as tooltips."""
