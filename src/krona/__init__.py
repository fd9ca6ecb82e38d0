"""krona: compare parameter-efficient tuning methods on GLUE, with T5 or another backbone (Edalati et al., KronA)."""
