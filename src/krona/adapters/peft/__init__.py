"""Read and write adapters in the folder format of the peft library, with this library (``pip install krona[peft]``)."""
