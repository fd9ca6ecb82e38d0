"""Many runs: what a sweep consists of, who makes its runs, how far they are, and what stands at the end.

Which runs (`krona.sweeps.plan`, composed by `krona.config.composer`), several processes on them
(`krona.sweeps.workers`, `krona.jobs.processes`), how far they are (`krona.sweeps.status`), and a multirun's
notes and table (`krona.sweeps.ledger`, `krona.sweeps.closing_table`). One run alone is `krona.jobs.run_job`' affair.
"""
