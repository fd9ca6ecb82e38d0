"""Trained adapters in use: loaded onto their backbone, asked, scored, exported, imported and inspected."""
