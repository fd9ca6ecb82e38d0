"""Read and write trained adapters, find them by their run, measure them, and start runs from them."""
