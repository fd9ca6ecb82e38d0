"""How the small T5 in nano/ was made, and how another is: `krona pretrain`.

Text of the sample world (`krona.pretraining.passages`) and tasks on it (`krona.pretraining.corpus`) become batches
(`krona.pretraining.feed`) of tokens (`krona.pretraining.vocabulary`), a T5 learns from them
(`krona.pretraining.pretrain`).
"""
