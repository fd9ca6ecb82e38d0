"""Parameter counts, ranks and costs of methods and factor shapes, without weights."""
