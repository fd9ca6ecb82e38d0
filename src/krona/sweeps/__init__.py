"""Many runs: plans, status, several processes, and a multirun's ledger and closing table."""
