"""Hours, memory, disk and money of a sweep on a card, estimated from finished runs before it starts."""
