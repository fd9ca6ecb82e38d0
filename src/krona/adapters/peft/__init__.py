"""Read and write adapters in the folder format of the peft library. The peft package itself is not needed."""
