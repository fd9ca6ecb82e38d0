"""Choose the default of ``optimizer.warmup_steps`` (the resolver ``${warmup:STEPS,EPOCHS,BATCH_SIZE}`` of conf/)."""

from omegaconf import DictConfig

WARMUP_SHARE = 0.06  # share of all steps, as in RoBERTa's fine-tuning (Liu et al. 2019)


def choose_warmup(steps: int, epochs: int, batch_size: int, *, _root_: DictConfig) -> int | float:
    """Return ``steps`` for a run in the paper's setting, and `WARMUP_SHARE` for any other run.

    In the paper's setting, a run trains on all rows of a GLUE task or sample task for ``epochs`` epochs with
    ``batch_size``, and its backbone has no ``learning_rates``.
    """
    task, data, trainer = _root_.task, _root_.data, _root_.trainer
    is_full = data.get("train_rows") is None and trainer.limit_train_batches == 1.0 and trainer.max_steps == -1
    length = (trainer.max_epochs, _root_.get("batch_size"), trainer.accumulate_grad_batches)
    of_paper = _root_.backbone.get("learning_rates") is None and task.get("files") is None
    return steps if is_full and of_paper and length == (epochs, batch_size, 1) else WARMUP_SHARE
