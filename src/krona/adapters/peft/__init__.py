"""Read and write adapters in peft's folder format. This needs the peft package (``pip install krona[peft]``)."""
