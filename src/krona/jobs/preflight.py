"""Checks before a run claims its folder: data files, the backbone, devices, factor shapes.

A mistake leaves nothing behind, and all that can't be had without a network is reported in one message within seconds.
"""

from pathlib import Path
from typing import Any

from krona.backbones import source
from krona.config.settings import Run, Scheduler, Trainer
from krona.config.targets import build_optimizer
from krona.messages import KronaError, amount
from krona.tasks import hub
from krona.tasks.sources import require_files
from krona.training.machine import cpu_count
from krona.training.ranks import num_processes

LOADERS_PER_CORE = 8
WAYS_OUT = (
    "Ways out: profile=demo (sample data and a small backbone, nothing is downloaded), "
    "backbone=local backbone.path=FOLDER (a model on disk), data=tsv data.path=FOLDER (GLUE's own files), "
    f"or {hub.MIRROR}"
)


def require(settings: Run, *, from_hub: bool = True) -> tuple[dict[str, Any], list[str]]:
    """Raise `KronaError` with one line for each thing that is missing or does not fit.

    ``from_hub=False`` skips what only the Hub can give. Returns what `insert_method` will: the branch's arguments and
    notes on them; nothing if the backbone's shape is on the Hub.
    """
    problems = []
    checks = [
        _data,
        _backbone,
        _start,
        _device,
        _loaders,
        _frozen,
        _forgetting,
        _optimizer,
        _lightning,
        *((_hub,) if from_hub else ()),
    ]
    for check in checks:
        try:
            check(settings)
        except KronaError as error:
            problems.append(str(error))
    if problems:
        raise KronaError("\n".join(problems))
    return _fit(settings)


def _data(settings: Run) -> None:
    require_files(settings.task, kind=settings.data.kind, path=settings.data.path)


def _backbone(settings: Run) -> None:
    source.require_folders(settings.backbone)


def _start(settings: Run) -> None:
    if settings.init_from is not None:
        from krona.adapters.start import require as require_start  # torch

        require_start(settings.init_from, settings.method.branch)


def _hub(settings: Run) -> None:
    task, data, backbone = settings.task, settings.data, settings.backbone
    from_hub = task.kind == "glue" and data.kind == "hub" and data.name is not None and task.hub_name is not None
    if not from_hub and not source.needs_hub(backbone):
        return
    why = hub.unreachable()
    if why is None:
        return
    lacking = []
    if from_hub and not hub.is_cached(str(data.name), str(task.hub_name), data.revision):
        lacking.append(f"the data set {data.name} ({task.hub_name})")
    if source.needs_hub(backbone) and not hub.model_is_cached(backbone.name):
        lacking.append(f"the backbone {backbone.name}")
    if lacking:
        raise KronaError(
            f"{' and '.join(lacking)} can't be had: not in the local cache, and the Hub ({hub.endpoint()}) can't be "
            f"reached: {why}. {WAYS_OUT}"
        )


def _device(settings: Run) -> None:
    kind, count = devices_here(settings.trainer)
    wanted, processes = devices_wanted(settings.trainer), num_processes()
    if wanted > count and processes == 1:  # srun may show each of its processes its own device only
        what = "core" if kind == "cpu" else f"{kind} device"
        raise KronaError(
            f"trainer.devices={wanted}: this machine has {amount(count, what)}; trainer.devices={count} takes all"
        )
    share, left = divmod(settings.batch_size, devices := max(wanted, processes))
    if left:
        near = [f"{n * devices}" for n in (share, share + 1) if n]
        raise KronaError(
            f"batch_size={settings.batch_size}: not divisible by {devices} devices; batch_size={' or '.join(near)} is"
        )


def _loaders(settings: Run) -> None:
    number, cores = settings.trainer.num_workers, cpu_count()
    if number > (most := LOADERS_PER_CORE * cores):
        raise KronaError(
            f"trainer.num_workers={number}: each is a process, and this machine has {amount(cores, 'core')}; at most "
            f"{most}; rows as short as these need 0"
        )


def _optimizer(settings: Run) -> None:
    """Build the optimiser: some refuse a number by an error of their own."""
    import torch

    try:
        build_optimizer(settings.optimizer)([torch.nn.Parameter(torch.zeros(1, 1))])
    except (ValueError, TypeError) as error:
        raise KronaError(f"{settings.optimizer.target} refuses its arguments (optimizer.…): {error}") from error


def _lightning(settings: Run) -> None:
    """Build what Lightning's users bring along: a wrong argument is found before anything starts."""
    if settings.callbacks:
        from krona.training.callbacks import build_callbacks  # Lightning

        build_callbacks(settings)
    if settings.scheduler != Scheduler():
        import torch

        from krona.training.schedule import build_schedule, count_warmup_steps

        optimizer = torch.optim.SGD([torch.zeros(1)], lr=settings.optimizer.lr)
        warmup = count_warmup_steps(settings.optimizer, 1000)
        build_schedule(optimizer, warmup, 1000, scheduler=settings.scheduler)


def _frozen(settings: Run) -> None:
    if settings.trainer.precision == "bf16-frozen" and settings.method.placement.get("train_backbone"):
        raise KronaError(
            f"trainer.precision=bf16-frozen: {settings.method.name} freezes nothing, and what trains is kept in fp32: "
            "trainer.precision=bf16-mixed"
        )
    if settings.trainer.strategy == "fsdp":
        _sharding(settings)


def _sharding(settings: Run) -> None:
    if settings.method.placement.get("train_backbone"):
        raise KronaError(
            f"trainer.strategy=fsdp: {settings.method.name} freezes nothing, and only what is frozen is sharded: "
            "trainer.strategy=ddp"
        )
    if max(devices_wanted(settings.trainer), num_processes()) == 1:
        raise KronaError("trainer.strategy=fsdp: sharding needs trainer.devices=2 or more")


def _forgetting(settings: Run) -> None:
    text = settings.trainer.measure_forgetting
    if text and settings.trainer.strategy == "fsdp":
        raise KronaError(
            "trainer.measure_forgetting needs the whole backbone on each device: trainer.strategy=ddp, or leave it at "
            "false"
        )
    if isinstance(text, str):
        from krona.backbones.held_out import require_file  # torch

        require_file(Path(text))


def devices_wanted(trainer: Trainer) -> int:
    """How many devices of a node a run uses."""
    if trainer.devices != "auto":
        return trainer.devices
    kind, count = devices_here(trainer)
    return 1 if kind == "cpu" else count


def devices_here(trainer: Trainer) -> tuple[str, int]:
    """The kind of device that a run uses, and how many this machine has: for a CPU, its cores."""
    import torch

    mps = int(torch.backends.mps.is_available())
    here = {"cuda": torch.cuda.device_count(), "mps": mps, "cpu": cpu_count()}
    if trainer.accelerator in ("auto", "gpu"):
        kind = next((name for name in ("cuda", "mps") if here[name]), "cpu" if trainer.accelerator == "auto" else "gpu")
    else:
        kind = trainer.accelerator
    count = here.get(kind, 0)
    if count == 0:
        raise KronaError(
            f"trainer.accelerator={trainer.accelerator}: this machine has no such device; it has "
            f"{', '.join(name for name, number in here.items() if number)}"
        )
    return kind, count


def _fit(settings: Run) -> tuple[dict[str, Any], list[str]]:
    """Insert the method into the backbone without weights: reports factors and targets that don't fit."""
    if source.find_folder(settings.backbone) is None and settings.backbone.sizes is None:
        return {}, []
    from krona.backbones import load
    from krona.backbones.families import find_family, max_positions
    from krona.backbones.held_out import objective_of
    from krona.backbones.with_method import insert_method

    model = load.meta_model(settings.backbone, settings.task)
    if settings.trainer.measure_forgetting:
        objective_of(find_family(model.config, settings.backbone.name))
    room = max_positions(model.config)
    if room is not None and settings.max_source_length > room:
        raise KronaError(
            f"max_source_length={settings.max_source_length}: the backbone {settings.backbone.name} has {room} "
            "positions"
        )
    return insert_method(model, settings.method, counterparts=settings.backbone.factor_shapes, reversible=False)
