"""Pretraining of the small T5 in nano/, and of others like it: `krona pretrain`.

`passages` (text of the sample world) and `corpus` (tasks on it) become batches (`feed`) of tokens (`vocabulary`), and
`pretrain` trains a T5 on them.
"""
