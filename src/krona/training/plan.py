"""Turn a composed config into the `Plan` of a run, which training, ``--cfg job`` and ``--dry-run`` read."""

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
from krona.config.settings import RunSettings
from krona.config.target_classes import KINDS
from krona.messages import KronaError
from krona.methods.factor_shapes import shape_name
from krona.paths import conf_folders
from krona.runs.folder import RunFolder
from krona.runs.launcher_environment import is_requeued
from krona.runs.provenance import own_code
from krona.runs.run_id import flatten, run_id
from krona.secrets_in_text import mask_secrets

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
    initial: "InitialWeights | None"  # the weights of ``init_from``
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
    initial = read_initial(settings)
    data = tasks.data_fingerprint(settings.task, settings.data)
    backbone = weights_source.fingerprint(settings.backbone)
    return Plan(
        settings=settings,
        stored=job.stored or mask_secrets(settings.config),
        hydra_files=job.hydra_files() if starts else {},
        notes=list(job.notes),
        search=job.search,
        initial=initial,
        data_fingerprint=data,
        backbone_fingerprint=backbone,
        run_id=identify(settings, initial, data_fingerprint=data, backbone_fingerprint=backbone),
        outputs=outputs,
    )


def read_initial(settings: RunSettings) -> "InitialWeights | None":
    """Return the initial weights of a run with ``init_from``."""
    if settings.init_from is None:
        return None
    from krona.adapters.init_from import InitialWeights  # imports torch, which takes a second

    return InitialWeights(settings.init_from)


def identify(
    settings: RunSettings,
    initial: "InitialWeights | None" = None,
    *,
    data_fingerprint: str | None = None,
    backbone_fingerprint: str | None = None,
) -> str:
    """Return the run id, computed from the config and the contents of data, backbone and initial weights.

    The other arguments are values that the caller has already computed from the settings.
    """
    config = dict(settings.config)
    if "callbacks" in config:  # a new token does not make a new run
        config["callbacks"] = mask_secrets(config["callbacks"])
    if (initial := initial or read_initial(settings)) is not None:
        config["init_from"] = initial.hash()
    if settings.method.fit_factors == "nearest" and "kron_factors" in settings.method.branch_config:
        config["method"] = {**config["method"], "kron_factors": _find_factors(settings)}
    return run_id(
        config,
        data_fingerprint=data_fingerprint or tasks.data_fingerprint(settings.task, settings.data),
        backbone_fingerprint=backbone_fingerprint or weights_source.fingerprint(settings.backbone),
        own_code=own_code(settings.config),
    )


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
