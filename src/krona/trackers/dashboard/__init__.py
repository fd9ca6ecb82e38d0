"""The W&B workspace and report as code: what they show (`panels`), that runs log it (`keys`), their spec (`spec`)."""
