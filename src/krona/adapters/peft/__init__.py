"""Write adapters in peft's folder format, with the peft package (the extra ``peft``)."""
