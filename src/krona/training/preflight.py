"""Check the settings of a run before it starts: data files, the backbone, the devices and the factor shapes.

The checks take a few seconds and write no files. All problems are reported in one error message.
"""

from typing import TYPE_CHECKING, Any

from krona import tasks
from krona.backbones import weights_source
from krona.config.settings import RunSettings, Scheduler, Trainer
from krona.config.target_classes import build_object, build_optimizer, find_class
from krona.config.validation import Problems
from krona.display_names import BENCHMARKS
from krona.messages import KronaError, UnreachableError, plural
from krona.runs.launcher_environment import num_processes
from krona.tasks import hub
from krona.tasks.data_sources import require_files
from krona.training.plan import read_initial

if TYPE_CHECKING:  # imports torch
    from krona.adapters.init_from import InitialWeights


def require(settings: RunSettings, initial: "InitialWeights | None" = None) -> None:
    """Check that a run can start on this machine, with its rows and its backbone.

    Args:
        initial: the weights of ``init_from``, if the caller has already found them.

    Raises:
        KronaError: the settings have problems, with one line for each, or the rows cannot be used.
        UnreachableError: the settings have no problems, but the Hub is needed and cannot be reached.
    """
    require_settings(settings, initial)
    _check_downloads(settings)
    require_rows(settings)
    insert_without_weights(settings)


def require_rows(settings: RunSettings) -> None:
    """Read the rows of a run, and keep them for the run.

    Raises:
        KronaError: a file or a row is wrong, or the rows cannot be divided.
    """
    from krona.training.data import load_splits  # imports transformers

    load_splits(settings, fingerprint=tasks.data_fingerprint(settings.task, settings.data), keep=True)


def require_settings(settings: RunSettings, initial: "InitialWeights | None" = None, *, starts: bool = True) -> None:
    """Check a run's settings against this machine and the run's files.

    Args:
        initial: the weights of ``init_from``, if the caller has already found them.
        starts: whether the run starts now. If false, no optimizer, callback or metric of a library is built.

    Raises:
        KronaError: the settings have problems. The message has one line for each problem.
    """
    problems, method = Problems(), settings.method
    with problems.collect():
        require_files(settings.task, kind=settings.data.kind, path=settings.data.path)
    with problems.collect():
        weights_source.require_folders(settings.backbone)
    with problems.collect():
        if (initial := initial or read_initial(settings)) is not None:
            initial.require(method.branch)
    with problems.collect():
        _check_devices(settings.trainer)
    if settings.task.is_multilabel:
        with problems.collect():
            _check_multilabel(settings)
    if starts:
        with problems.collect():
            _check_optimizer_and_callbacks(settings)
    if settings.trainer.frozen_in_bf16 and method.placement.get("train_backbone"):
        problems.append(
            f"trainer.precision=bf16-frozen changes only frozen weights, but {method.name} trains all weights. Use "
            "trainer.precision=bf16-mixed."
        )
    if settings.backbone.quantisation is not None:
        with problems.collect():
            _check_quantisation(settings)
    problems.raise_all()


def insert_without_weights(settings: RunSettings) -> tuple[dict[str, Any], list[str]]:
    """Insert the method into the backbone without loading weights.

    Returns:
        The result of `insert_method`. The dict and the list are empty if the backbone's config must be downloaded.

    Raises:
        KronaError: factor shapes, target modules, the source length or the tokenizer do not fit the backbone.
    """
    if settings.backbone.folder is None and settings.backbone.sizes is None:
        return {}, []
    from krona import surgery
    from krona.backbones import load
    from krona.backbones.families import max_positions
    from krona.backbones.insert_method import insert_method
    from krona.training.schedule import optimizer_groups

    model = load.meta_model(settings.backbone, settings.task)
    if not settings.backbone.pretrained and settings.backbone.tokenizer_folder is not None:
        load.require_embeddings(load.load_tokenizer(settings.backbone), model.config, settings.backbone)
    inserted = insert_method(model, settings.method, factor_shapes=settings.backbone.factor_shapes, reversible=False)
    positions, prompt = max_positions(model.config), surgery.prompt_length(model)
    if positions is not None and settings.max_source_length > positions - prompt:
        besides = f", of which the prompt uses {prompt}" if prompt else ""
        raise KronaError(
            f"max_source_length={settings.max_source_length} exceeds the {positions} positions of the backbone "
            f"{settings.backbone.name}{besides}. Use max_source_length={positions - prompt} or less."
        )
    optimizer_groups(model, settings.optimizer)
    return inserted


def _check_devices(trainer: Trainer) -> None:
    if trainer.accelerator in ("auto", "cpu") and trainer.devices in ("auto", 1):
        return  # available everywhere
    from krona.training.devices import count_devices, devices_wanted

    kind, count = count_devices(trainer)
    wanted = devices_wanted(trainer)
    if wanted > count and num_processes() == 1:
        noun = "core" if kind == "cpu" else f"{kind} device"
        raise KronaError(
            f"trainer.devices={wanted} is too high, because this machine has {plural(count, noun)}. Use at most "
            f"trainer.devices={count}."
        )


def _check_multilabel(settings: RunSettings) -> None:
    if settings.backbone.folder is None and settings.backbone.sizes is None:
        return  # the backbone's config must be downloaded
    from krona.backbones.checkpoint import build_config
    from krona.backbones.families import find_family

    config = build_config(settings.backbone, settings.task)
    find_family(config, settings.backbone.name_or_path).check_metrics(settings.task)


def _check_optimizer_and_callbacks(settings: RunSettings) -> None:
    import torch

    from krona.training.schedule import build_schedule, count_warmup_steps

    build_optimizer(settings.optimizer)([torch.zeros(1, 1)])
    for name, values in settings.callbacks.items():
        build_object(values, f"callbacks.{name}", "callback")
    if settings.scheduler != Scheduler():
        lr, factors = settings.optimizer.lr, settings.optimizer.lr_factors
        optimizer = torch.optim.SGD(
            [{"params": [torch.zeros(1)], "lr": lr * factor} for factor in (1, *factors.values())]
        )
        warmup = count_warmup_steps(settings.optimizer, 1000)
        build_schedule(optimizer, warmup, 1000, scheduler=settings.scheduler)


def _check_quantisation(settings: RunSettings) -> None:
    method, trainer = settings.method, settings.trainer
    branch = find_class(method.branch, "method._target_", "branch") if method.branch else None
    if method.placement.get("train_backbone") or (branch is not None and branch.existing_parameter):
        raise KronaError(f"backbone.quantisation=nf4 freezes weights that {method.name} trains.")
    if trainer.precision not in ("32-true", "bf16-mixed") or trainer.compile:
        raise KronaError(
            "backbone.quantisation=nf4 needs trainer.compile=false and trainer.precision=32-true or bf16-mixed, "
            "because other precisions change the dtype of frozen weights."
        )
    weights_source.require_quantisation()


def _check_downloads(settings: RunSettings) -> None:
    task, data, backbone = settings.task, settings.data, settings.backbone
    needs_model = backbone.needs_hub
    on_hub = task.data_kind in BENCHMARKS and data.kind == "hub"
    needs_data = on_hub and data.name is not None and task.hub_name is not None
    if not (needs_data or needs_model) or (reason := hub.unreachable()) is None:
        return
    missing, ways_out = [], ["profile=demo (nothing to download)"]
    if needs_data and not hub.is_cached(str(data.name), str(task.hub_name), data.revision):
        missing.append(f"the data set {data.name} ({task.hub_name})")
        ways_out.append(hub.GLUE_ON_DISK)
    if needs_model and not hub.model_is_cached(backbone.name, backbone.revision):
        revision = f" (revision {backbone.revision})" if backbone.revision else ""
        missing.append(f"the backbone {backbone.name}{revision}")
        ways_out.append(weights_source.MODEL_ON_DISK)
    if missing:
        raise UnreachableError(
            f"The local cache does not contain {' and '.join(missing)}. The Hub ({hub.endpoint()}) could not be "
            f"reached: {reason}. Use {', '.join(ways_out)}, or {hub.MIRROR}."
        )
