"""How the small T5 in nano/ was made, and how another is: `krona pretrain`.

Text of the sample world (`krona.backbones.pretraining.passages`) and tasks on it (`krona.backbones.pretraining.corpus`) become batches
(`krona.backbones.pretraining.feed`) of tokens (`krona.backbones.pretraining.vocabulary`), a T5 learns from them
(`krona.backbones.pretraining.pretrain`).
"""
