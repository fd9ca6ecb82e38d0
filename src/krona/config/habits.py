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
_WARMUP = Habit("optimizer.warmup_steps=100", "steps; 0.06 is a share of all steps")
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
_CPU = Habit("trainer.accelerator=cpu")
_DEVICES = Habit("trainer.devices=4", "each with a share of every batch; trainer.strategy=ddp or fsdp")
_SHARDED = Habit("trainer.strategy=fsdp trainer.devices=2")
_OPTIMIZER = Habit("optimizer._target_=torch.optim.SGD", "its arguments are keys of optimizer")
_BETAS = Habit("+optimizer.betas=[0.9,0.98]")
_METHOD = Habit("method=lora")
_RANK = Habit("method=lora method.rank=4")
_SCALING = Habit("method=lora method.scaling=2.0", "the factor of the update; peft's is lora_alpha / r")
_FILES = Habit("data=tsv data.path=FOLDER")
_OWN_ROWS = Habit("", "rows of your own are a task: one YAML in conf/task (docs/adding-a-task.md)")
_ROWS = Habit("data.train_rows=100", "rows, balanced by class")
_NAME = Habit("", "a run is named after its settings; a W&B run can have a name: logger=wandb logger.wandb.name=NAME")
_SAVED = Habit("", "the last epoch is kept until the run is done, then the best one; keep=all: with the backbone")
_BEST = Habit("", "the epoch with the best dev score is the model")
_COMPILE = Habit("trainer.compile=true")
_WORKERS = Habit("trainer.num_workers=2")
_LOGGER = Habit("logger=wandb", "or tensorboard, mlflow; its settings are keys: logger.wandb.project=NAME")
_SCHEDULE = Habit("scheduler=cosine", "also linear, constant, scheduler._target_=torch.optim.lr_scheduler.…")
_SEED = Habit("seed=1", "of the run; the split has its own, data.seed")

HABITS: Mapping[str, Habit] = {
    "lr": _LR, "learning_rate": _LR, "lr_rate": _LR, "base_lr": _LR, "optimizer.learning_rate": _LR, "optim.lr": _LR,
    "model.lr": _LR,
    "model.optimizer.lr": _LR, "trainer.lr": _LR, "trainer.learning_rate": _LR, "training.learning_rate": _LR,
    "epochs": _EPOCHS, "max_epochs": _EPOCHS, "num_epochs": _EPOCHS, "num_train_epochs": _EPOCHS,
    "trainer.epochs": _EPOCHS, "trainer.num_epochs": _EPOCHS, "trainer.num_train_epochs": _EPOCHS,
    "steps": _STEPS, "max_steps": _STEPS, "num_steps": _STEPS, "max_train_steps": _STEPS, "trainer.steps": _STEPS,
    "bs": _BATCH, "batch": _BATCH, "per_device_train_batch_size": _BATCH, "train_batch_size": _BATCH,
    "data.batch_size": _BATCH, "trainer.batch_size": _BATCH, "datamodule.batch_size": _BATCH,
    "trainer.per_device_train_batch_size": _BATCH, "auto_find_batch_size": _BATCH,
    "eval_batch_size": Habit("trainer.eval_batch_size=64"),
    "per_device_eval_batch_size": Habit("trainer.eval_batch_size=64"),
    "accumulate_grad_batches": _ACCUMULATE,
    "gradient_accumulation_steps": _ACCUMULATE,
    "warmup": _WARMUP, "warmup_steps": _WARMUP, "warmup_ratio": _WARMUP, "num_warmup_steps": _WARMUP,
    "trainer.warmup_steps": _WARMUP, "optimizer.warmup_ratio": _WARMUP,
    "weight_decay": Habit("optimizer.weight_decay=0.01"),
    "model.optimizer.weight_decay": Habit("optimizer.weight_decay=0.01"),
    "optim": _OPTIMIZER, "optimizer.name": _OPTIMIZER, "optimizer.type": _OPTIMIZER, "model.optimizer": _OPTIMIZER,
    "adam_beta1": _BETAS, "adam_beta2": _BETAS, "adam_epsilon": Habit("+optimizer.eps=1e-6"),
    "max_grad_norm": _CLIP, "grad_clip": _CLIP, "clip_grad_norm": _CLIP, "trainer.max_grad_norm": _CLIP,
    "gradient_clip": _CLIP, "trainer.gradient_clip": _CLIP,
    "gradient_clip_val": _CLIP, "trainer.gradient_clip_val": _CLIP,
    "max_length": _LENGTH, "max_seq_length": _LENGTH, "max_seq_len": _LENGTH, "model_max_length": _LENGTH,
    "data.max_length": _LENGTH, "block_size": _LENGTH,
    "model": _MODEL, "model_name": _MODEL, "model_name_or_path": _MODEL,
    "model.name": _MODEL, "model.model_name": _MODEL, "model.net": _MODEL, "net": _MODEL,
    "pretrained_model_name_or_path": _MODEL,
    "peft": _METHOD, "adapter": _METHOD, "peft_type": _METHOD, "tuner": _METHOD,
    "lora_r": _RANK, "r": _RANK, "rank": _RANK, "lora_alpha": _SCALING, "alpha": _SCALING,
    "dataset": _TASK, "dataset_name": _TASK, "task_name": _TASK,
    "datamodule": _TASK, "dataset_config_name": _TASK, "data.name_or_path": _TASK,
    "data_dir": _FILES, "data.data_dir": _FILES, "datamodule.data_dir": _FILES, "paths.data_dir": _FILES,
    "data_path": _FILES,
    "train_file": _OWN_ROWS, "validation_file": _OWN_ROWS, "test_file": _OWN_ROWS,
    "max_train_samples": _ROWS, "max_eval_samples": _WHOLE, "max_predict_samples": _WHOLE,
    "output_dir": _OUTPUTS, "paths.output_dir": _OUTPUTS, "paths.log_dir": _OUTPUTS, "logging_dir": _OUTPUTS,
    "log_dir": _OUTPUTS, "save_dir": _OUTPUTS, "run_name": _NAME, "name": _NAME, "exp_name": _NAME,
    "experiment_name": _NAME, "overwrite_output_dir": Habit("overwrite=true"), "trainer.default_root_dir": _OUTPUTS,
    "ckpt_path": _RESUME, "trainer.ckpt_path": _RESUME, "resume": _RESUME, "resume_from_checkpoint": _RESUME,
    "checkpoint": _RESUME, "resume_from": _RESUME, "trainer.resume_from_checkpoint": _RESUME,
    "save_steps": _SAVED, "save_strategy": _SAVED, "save_total_limit": _SAVED, "save_safetensors": _SAVED,
    "load_best_model_at_end": _BEST, "metric_for_best_model": _BEST, "greater_is_better": _BEST, "monitor": _BEST,
    "trainer.callbacks": _CALLBACKS, "early_stopping": _STOP, "patience": _STOP,
    "early_stopping_patience": _STOP,
    "seed_everything": _SEED, "random_seed": _SEED, "trainer.seed": _SEED, "data_seed": Habit("data.seed=1"),
    "fp16": _BF16, "bf16": _BF16, "precision": _BF16, "mixed_precision": _BF16, "trainer.fp16": _BF16,
    "trainer.bf16": _BF16,
    "amp": _BF16, "torch_dtype": _BF16,
    "gradient_checkpointing": Habit("trainer.gradient_checkpointing=true"),
    "compile": _COMPILE, "torch_compile": _COMPILE, "model.compile": _COMPILE,
    "num_workers": _WORKERS, "dataloader_num_workers": _WORKERS, "data.num_workers": _WORKERS,
    "datamodule.num_workers": _WORKERS, "group_by_length": Habit("trainer.bucket_by_length=true"),
    "report_to": _LOGGER, "loggers": _LOGGER, "wandb": _LOGGER, "use_wandb": _LOGGER, "wandb_project": _LOGGER,
    "tags": _LOGGER, "push_to_hub": Habit("", "krona export RUN --to peft --out FOLDER --push USER/NAME"),
    "do_train": _WHOLE, "do_eval": _WHOLE, "do_predict": _WHOLE, "train": _WHOLE, "test": Habit("score_test=false"),
    "eval_steps": _WHOLE, "eval_strategy": _WHOLE, "evaluation_strategy": _WHOLE,
    "debug": Habit("profile=demo trainer.max_steps=1"), "fast_dev_run": Habit("trainer.fast_dev_run=true"),
    "hparams_search": Habit("", "krona tune method=krona task=rte searches learning rate, scaling and shape"),
    "optimized_metric": Habit("", "krona tune maximises the dev score"),
    "limit_train_batches": Habit("trainer.limit_train_batches=10", "data.train_rows=100: the same rows each epoch"),
    "trainer.overfit_batches": Habit("data.train_rows=100", "the same rows in each epoch, balanced by class"),
    "trainer.logger": Habit("logger=wandb", "Lightning's: +logger.c._target_=pytorch_lightning.loggers.CSVLogger"),
    "trainer.gradient_clip_algorithm": Habit("", "optimizer.gradient_clip clips by the norm"),
    "trainer.min_epochs": _EPOCHS, "trainer.max_time": _STEPS,
    "lr_scheduler": _SCHEDULE, "scheduler.name": _SCHEDULE, "lr_scheduler_type": _SCHEDULE,
    "trainer.limit_val_batches": _WHOLE, "trainer.limit_test_batches": _WHOLE,
    "trainer.val_check_interval": _WHOLE, "trainer.check_val_every_n_epoch": _WHOLE,
    "log_every_n_steps": _LOGGED, "logging_steps": _LOGGED, "logging_strategy": _LOGGED,
    "trainer.gpus": Habit("trainer.accelerator=gpu trainer.devices=1"),
    "gpus": Habit("trainer.accelerator=gpu trainer.devices=1"),
    "device": _CPU, "use_cpu": _CPU, "no_cuda": _CPU, "accelerator": _CPU,
    "devices": _DEVICES, "num_gpus": _DEVICES, "n_gpu": _DEVICES, "strategy": _DEVICES,
    "fsdp": _SHARDED, "deepspeed": _SHARDED,
}  # fmt: skip
# choices of Lightning's Hydra template that krona's groups of the same name lack
VALUES: Mapping[str, Mapping[str, Habit]] = {
    "trainer": {
        "cpu": _CPU, "gpu": Habit("trainer.accelerator=gpu"), "mps": Habit("trainer.accelerator=mps"),
        "ddp": _DEVICES, "ddp_sim": _DEVICES, "fsdp": _SHARDED,
    },
    "logger": {"many_loggers": Habit("logger=[csv,wandb]")},
}  # fmt: skip

_HALF = ("16", "16-mixed", "16-true", "bf16", "fp16")


def instead_of(key: str, value: Any = None) -> str | None:
    """What to type instead of a key that krona lacks, or of a value that it refuses; None for no known habit."""
    if key == "trainer.precision" and str(value) in _HALF:
        return str(_BF16)
    if (habit := VALUES.get(key, {}).get(str(value))) is not None:
        return str(habit)
    return str(HABITS[key]) if key in HABITS else None
