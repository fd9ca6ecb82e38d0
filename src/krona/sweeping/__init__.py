"""Many runs: what a sweep consists of, who makes its runs, how far they are, and what stands at the end.

Which runs (`krona.sweeping.sweeps`, composed by `krona.sweeping.composer`), several processes on them
(`krona.sweeping.workers`, `krona.sweeping.children`), how far they are (`krona.sweeping.status`), and a multirun's
notes and table (`krona.sweeping.ledger`, `krona.sweeping.closing_table`). One run alone is `krona.jobs`' affair.
"""
