"""Turn a composed config into the `Plan` of a run, and check that the run can start.

The checks take a few seconds and write no files. All problems are reported in one error message. torch is imported
only where a check needs it, because ``--cfg job`` and ``--dry-run`` use this module, too.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krona import tasks
from krona.backbones import weights_source
from krona.config import check
from krona.config.compose import Composed
from krona.config.model_folder import WIDTHS, read_model_config
from krona.config.settings import RunSettings, Scheduler
from krona.config.target_classes import KINDS, build_object, build_optimizer, find_class
from krona.config.validation import Problems
from krona.display_names import BENCHMARKS
from krona.messages import KronaError, UnreachableError, plural
from krona.methods.factor_shapes import shape_name
from krona.paths import conf_folders
from krona.runs.folder import RunFolder
from krona.runs.processes import is_requeued, num_processes
from krona.runs.run_id import flatten, run_id
from krona.secrets_in_text import mask_secrets
from krona.tasks import hub
from krona.tasks.data_sources import require_files

if TYPE_CHECKING:  # imports torch
    from krona.adapters.init_from import InitialWeights

MIN_SECRET = 6  # characters; shorter values may be ordinary words


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run before it starts: its settings, its id, and how this command executes it."""

    settings: RunSettings
    stored: Mapping[str, Any]  # the config to store, without secrets
    hydra_files: Mapping[str, str]  # contents of the files in the run's .hydra/, by name
    notes: list[str]  # messages for result.json
    search: Mapping[str, Any] | None  # the search that chose the settings, for result.json
    data_fingerprint: str
    backbone_fingerprint: str
    run_id: str
    outputs: Path
    multirun: bool = False
    shows_notes: bool = True  # whether to print the notes when the run starts
    overrides: Sequence[str] | None = None  # overrides of the command that torchrun starts for this run
    varied: Mapping[str, str] = field(default_factory=dict)  # the settings that the command varied, for the report
    # The number of runs that the command has left, this one included, for the estimate of their time; 0: no estimate.
    runs_left: int = 1
    position: str = ""  # number of the job in a multirun, such as 3/12
    # Called with the LightningModule after each epoch, once the checkpoint is saved. May raise `Interrupted`.
    after_epoch: Callable[[Any], None] | None = None

    @cached_property
    def _secrets(self) -> list[str]:
        """Texts of the config that ``stored`` masks, without short ones that may be ordinary words."""
        stored = dict(flatten(self.stored))
        texts = [(key, value) for key, value in flatten(self.settings.config) if isinstance(value, str)]
        return [value for key, value in texts if len(value) >= MIN_SECRET and stored.get(key) != value]

    def mask(self, text: str) -> str:
        """Mask secrets in a message or a stack trace, including all values that ``stored`` masks."""
        return str(mask_secrets(text, known=self._secrets))

    @property
    def overwrites(self) -> bool:
        """Whether to repeat a finished run. A job that SLURM has requeued resumes its run instead."""
        return self.settings.overwrite and not is_requeued()

    @property
    def folder(self) -> Path:
        return self.outputs / self.run_id

    @property
    def run_folder(self) -> RunFolder:
        return RunFolder(self.folder)


def plan_run(job: Composed, outputs: Path, *, own: bool = True, starts: bool = True) -> Plan:
    """Check a composed config, and return the plan of its run.

    torch is imported only if the run starts now, ``init_from`` is set, arguments of a class need a check, or factor
    shapes must be fitted to an unusual backbone.

    Args:
        outputs: the folder that contains the run's folder.
        own: whether the config comes from the user's own command and conf/, and may therefore use any class.
        starts: whether the run starts now. If false, there are no ``hydra_files``.

    Raises:
        NotAllowedError: ``own`` is false, and the config names a forbidden class.
        KronaError: the config has problems. The message has one line for each problem.
    """
    imports = starts or len(conf_folders()) > 1 or check.may_set_arguments(job.overrides)
    settings = check.settings(job.config, own=own, imports=imports)
    data = tasks.data_fingerprint(settings.task, settings.data)
    backbone = weights_source.fingerprint(settings.backbone)
    return Plan(
        settings=settings,
        stored=job.stored or mask_secrets(settings.config),
        hydra_files=job.hydra_files() if starts else {},
        notes=list(job.notes),
        search=job.search,
        data_fingerprint=data,
        backbone_fingerprint=backbone,
        run_id=_identify(settings, data, backbone),
        outputs=outputs,
    )


def read_initial(settings: RunSettings) -> "InitialWeights | None":
    """Return the initial weights of a run with ``init_from``."""
    if settings.init_from is None:
        return None
    from krona.adapters.init_from import InitialWeights  # imports torch, which takes a second

    return InitialWeights(settings.init_from)


def _identify(settings: RunSettings, data_fingerprint: str, backbone_fingerprint: str) -> str:
    """Return the run id, computed from the config and the contents of data, backbone and initial weights."""
    config = dict(settings.config)
    if "callbacks" in config:  # a new token does not make a new run
        config["callbacks"] = mask_secrets(config["callbacks"])
    if (initial := read_initial(settings)) is not None:
        config["init_from"] = initial.hash()
    if settings.method.fit_factors == "nearest" and "kron_factors" in settings.method.branch_config:
        config["method"] = {**config["method"], "kron_factors": _find_factors(settings)}
    return run_id(config, data_fingerprint=data_fingerprint, backbone_fingerprint=backbone_fingerprint)


def _find_factors(settings: RunSettings) -> Any:
    """Return the factor shapes that the backbone's layers use.

    Two runs whose shapes are replaced by the same shapes on this backbone therefore have the same run id.
    """
    factors = settings.method.branch_config["kron_factors"]
    if not factors or not KINDS["branch"].contains(str(settings.method.branch)):  # ids name a user's shapes as given
        return factors
    sizes = read_model_config(settings.config["backbone"])
    widths = {sizes[key] for key in WIDTHS if sizes.get(key)}
    if widths == {math.prod(sides) for sides in zip(*factors, strict=True)} and "num_key_value_heads" not in sizes:
        return factors  # the shapes fit all layers, so the slow imports below are not needed
    counterpart = settings.backbone.factor_shapes.get(shape_name(factors[0]))
    if counterpart and len(factors) > 1:  # A alone may fit the layers, and then has no counterpart
        return [counterpart]
    from krona.backbones.insert_method import fitted_factors

    with suppress(KronaError):  # `require` reports the error together with other problems
        return fitted_factors(settings)
    return factors


def require(settings: RunSettings) -> None:
    """Check that a run can start on this machine, with its rows and its backbone.

    Raises:
        KronaError: the settings have problems, with one line for each, or the rows cannot be used.
        UnreachableError: the settings have no problems, but the Hub is needed and cannot be reached.
    """
    require_settings(settings)
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


def require_settings(settings: RunSettings, *, starts: bool = True) -> None:
    """Check a run's settings against this machine and the run's files.

    Args:
        starts: whether the run starts now. If false, no optimizer, callback or metric of a library is built.

    Raises:
        KronaError: the settings have problems. The message has one line for each problem.
    """
    problems = Problems()
    checks: list[Callable[[RunSettings], None]] = [
        lambda settings: require_files(settings.task, kind=settings.data.kind, path=settings.data.path),
        lambda settings: weights_source.require_folders(settings.backbone),
        _check_initial,
        _check_devices,
        _check_multilabel,
        *([_check_optimizer_and_callbacks] if starts else []),
        _check_precision,
        _check_quantisation,
    ]
    for check_some in checks:
        with problems.collect():
            check_some(settings)
    problems.raise_all()


def _check_initial(settings: RunSettings) -> None:
    if (initial := read_initial(settings)) is not None:
        initial.require(settings.method.branch)


def _check_devices(settings: RunSettings) -> None:
    trainer = settings.trainer
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
    if not settings.task.is_multilabel or _needs_download(settings):
        return
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


def _check_precision(settings: RunSettings) -> None:
    if settings.trainer.frozen_in_bf16 and settings.method.placement.get("train_backbone"):
        raise KronaError(
            f"trainer.precision=bf16-frozen changes only frozen weights, but {settings.method.name} trains all "
            "weights. Use trainer.precision=bf16-mixed."
        )


def _check_quantisation(settings: RunSettings) -> None:
    if settings.backbone.quantisation is None:
        return
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


def _needs_download(settings: RunSettings) -> bool:
    """Return whether the backbone's config must be downloaded."""
    return settings.backbone.folder is None and settings.backbone.sizes is None


def insert_without_weights(settings: RunSettings) -> tuple[dict[str, Any], list[str]]:
    """Insert the method into the backbone without loading weights.

    Returns:
        The result of `insert_method`. The dict and the list are empty if the backbone's config must be downloaded.

    Raises:
        KronaError: factor shapes, target modules, the source length or the tokenizer do not fit the backbone.
    """
    if _needs_download(settings):
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
