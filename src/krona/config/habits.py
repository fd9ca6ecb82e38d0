"""Keys and values of other tools that people type out of habit, each with krona's own.

From command lines of the Hugging Face Trainer, PyTorch Lightning and its Hydra templates.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Habit(NamedTuple):
    """What krona has instead: overrides that can be typed as they are, and what is different about them."""

    instead: str = ""
    note: str = ""

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"krona has {self.instead}{note}" if self.instead else self.note


_LR = Habit("optimizer.lr=1e-3")
_EPOCHS = Habit("trainer.max_epochs=3")
_STEPS = Habit("trainer.max_steps=300")
_BATCH = Habit("batch_size=32", "rows of one step over all devices")
_WARMUP = Habit("optimizer.warmup_steps=100", "steps, no ratio")
_CLIP = Habit("optimizer.gradient_clip=0.5")
_ACCUMULATE = Habit(
    "trainer.accumulate_grad_batches=2", "micro_batch_size=25 computes one batch in parts: less memory, same gradient"
)
_LENGTH = Habit("max_source_length=256")
_MODEL = Habit("backbone=t5_small", "a folder: backbone=local backbone.path=FOLDER; how it is tuned: method=lora")
_TASK = Habit("task=sst2", "the source of its rows: data=hub, data=tsv or data=sample")
_OUTPUTS = Habit("", "the variable KRONA_OUTPUTS=FOLDER moves outputs/; a run's folder is named after its settings")
_RESUME = Habit(
    "", "an unfinished run resumes when its command is typed again; init_from=RUN takes another run's weights"
)
_BF16 = Habit("trainer.precision=bf16-mixed", "as fast; no fp16, in whose narrow range T5 overflows")
_STOP = Habit("trainer.patience=5", "epochs without a better dev score; Lightning's: callbacks=early_stopping")
_LOGGED = Habit("trainer.log_every_n_steps=10", "train/loss to Lightning's loggers; other values once an epoch")
_CALLBACKS = Habit("callbacks=early_stopping", "of your own: +callbacks.mine._target_=my.Callback")
_WHOLE = Habit("", "dev and test are scored whole; dev after each epoch")
_SCHEDULE = Habit("scheduler=cosine", "also linear, constant, scheduler._target_=torch.optim.lr_scheduler.…")
_SEED = Habit("seed=1", "of the run; the split has its own, data.seed")

HABITS: Mapping[str, Habit] = {
    "lr": _LR, "learning_rate": _LR, "optimizer.learning_rate": _LR, "optim.lr": _LR, "model.lr": _LR,
    "model.optimizer.lr": _LR, "trainer.lr": _LR,
    "epochs": _EPOCHS, "max_epochs": _EPOCHS, "num_epochs": _EPOCHS, "num_train_epochs": _EPOCHS,
    "trainer.epochs": _EPOCHS, "trainer.num_epochs": _EPOCHS,
    "steps": _STEPS, "max_steps": _STEPS, "num_steps": _STEPS,
    "bs": _BATCH, "batch": _BATCH, "per_device_train_batch_size": _BATCH, "train_batch_size": _BATCH,
    "data.batch_size": _BATCH, "trainer.batch_size": _BATCH,
    "eval_batch_size": Habit("trainer.eval_batch_size=64"),
    "per_device_eval_batch_size": Habit("trainer.eval_batch_size=64"),
    "accumulate_grad_batches": _ACCUMULATE,
    "gradient_accumulation_steps": _ACCUMULATE,
    "warmup": _WARMUP, "warmup_steps": _WARMUP, "warmup_ratio": _WARMUP, "num_warmup_steps": _WARMUP,
    "weight_decay": Habit("optimizer.weight_decay=0.01"),
    "max_grad_norm": _CLIP, "gradient_clip_val": _CLIP, "trainer.gradient_clip_val": _CLIP,
    "max_length": _LENGTH, "max_seq_length": _LENGTH,
    "model": _MODEL, "model_name": _MODEL, "model_name_or_path": _MODEL,
    "dataset": _TASK, "dataset_name": _TASK, "task_name": _TASK,
    "output_dir": _OUTPUTS, "trainer.default_root_dir": _OUTPUTS,
    "ckpt_path": _RESUME, "trainer.ckpt_path": _RESUME, "resume": _RESUME, "resume_from_checkpoint": _RESUME,
    "experiment": Habit("profile=demo", "whole settings are groups: profile, recipe and variant; sweeps with -m"),
    "trainer.callbacks": _CALLBACKS, "early_stopping": _STOP, "patience": _STOP,
    "seed_everything": _SEED, "random_seed": _SEED,
    "fp16": _BF16, "bf16": _BF16, "precision": _BF16,
    "fast_dev_run": Habit("trainer.fast_dev_run=true"),
    "limit_train_batches": Habit("trainer.limit_train_batches=10", "data.train_rows=100: the same rows each epoch"),
    "trainer.overfit_batches": Habit("data.train_rows=100", "the same rows in each epoch, balanced by class"),
    "trainer.logger": Habit("logger=wandb", "Lightning's: +logger.c._target_=pytorch_lightning.loggers.CSVLogger"),
    "trainer.gradient_clip_algorithm": Habit("", "optimizer.gradient_clip clips by the norm"),
    "trainer.min_epochs": _EPOCHS, "trainer.max_time": _STEPS,
    "lr_scheduler": _SCHEDULE, "scheduler.name": _SCHEDULE, "lr_scheduler_type": _SCHEDULE,
    "trainer.limit_val_batches": _WHOLE, "trainer.limit_test_batches": _WHOLE,
    "trainer.val_check_interval": _WHOLE, "trainer.check_val_every_n_epoch": _WHOLE,
    "log_every_n_steps": _LOGGED, "logging_steps": _LOGGED,
    "trainer.gpus": Habit("trainer.accelerator=gpu trainer.devices=1"),
    "gpus": Habit("trainer.accelerator=gpu trainer.devices=1"),
    "device": Habit("trainer.accelerator=cpu"),
}  # fmt: skip

_HALF = ("16", "16-mixed", "16-true", "bf16", "fp16")


def instead_of(key: str, value: Any = None) -> str | None:
    """What to type instead of a key that krona lacks, or of a value that it refuses; None for no known habit."""
    if key == "trainer.precision" and str(value) in _HALF:
        return str(_BF16)
    return str(HABITS[key]) if key in HABITS else None
