"""krona: compare parameter-efficient tuning methods on GLUE with T5 (Edalati et al., KronA)."""
