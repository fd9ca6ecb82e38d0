"""Read, write, find and measure trained adapters, and initialise new runs with their weights."""
