"""One run on several devices, and backbones that are large for one.

Who a run's processes are and what they tell each other (`krona.distributed.ranks`), who starts them and watches
(`krona.distributed.rank_start`), what each does (`krona.distributed.rank_process`), and what makes room for frozen
weights (`krona.distributed.large_backbones`).
"""
