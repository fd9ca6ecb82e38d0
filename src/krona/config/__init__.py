"""Configuration: Hydra's config in, checked and typed settings out."""
