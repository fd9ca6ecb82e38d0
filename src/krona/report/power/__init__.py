"""What the test sets can show: `krona power`, and the line below a report's table."""
