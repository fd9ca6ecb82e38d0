"""What a run needs, looked at before it claims its folder: files, a backbone, a device, factors that fit.

So a mistake leaves nothing behind, and what can't be had without a network is said within seconds and in one message.
"""

from krona import backbone_source, hub
from krona.errors import KronaError
from krona.settings import Run, Trainer
from krona.tasks.sources import check_kind, own_files, tsv_files

WAYS_OUT = (
    "Ways out: profile=demo (sample data and a small backbone, nothing is downloaded), "
    "backbone=local backbone.path=FOLDER (a T5 on disk), data=tsv data.path=FOLDER (GLUE's own files), "
    f"or {hub.MIRROR}"
)


def require(settings: Run) -> None:
    """Raise `KronaError`, one line for each thing that is missing or does not fit."""
    problems = []
    for check in (_data, _backbone, _device, _hub):
        try:
            check(settings)
        except KronaError as error:
            problems.append(str(error))
    if problems:
        raise KronaError("\n".join(problems))
    _fit(settings)


def _data(settings: Run) -> None:
    task, data = settings.task, settings.data
    check_kind(task, data.kind)
    if task.kind == "own":
        for part, file in own_files(task, data.path).items():
            if not file.is_file():
                where = "it starts at data.path" if data.path else "relative paths start at the working directory"
                raise KronaError(f"task {task.name}: files.{part}: {file.absolute()} is no file ({where})")
    elif task.kind == "glue" and data.kind == "tsv":
        tsv_files(task, data.path)


def _backbone(settings: Run) -> None:
    backbone_source.require_folders(settings.backbone)


def _hub(settings: Run) -> None:
    from krona.tasks.hub import is_cached

    task, data, backbone = settings.task, settings.data, settings.backbone
    from_hub = task.kind == "glue" and data.kind == "hub" and data.name is not None and task.hub_name is not None
    if not from_hub and not backbone_source.needs_hub(backbone):
        return
    why = hub.unreachable()
    if why is None:
        return
    lacking = []
    if from_hub and not is_cached(str(data.name), str(task.hub_name), data.revision):
        lacking.append(f"the data set {data.name} ({task.hub_name})")
    if backbone_source.needs_hub(backbone) and not hub.model_is_cached(backbone.name):
        lacking.append(f"the backbone {backbone.name}")
    if lacking:
        raise KronaError(
            f"{' and '.join(lacking)} can't be had: not in the local cache, and the Hub ({hub.endpoint()}) can't be "
            f"reached: {why}. {WAYS_OUT}"
        )


def _device(settings: Run) -> None:
    kind, count = _devices(settings.trainer)
    wanted = settings.trainer.devices
    if isinstance(wanted, int) and not isinstance(wanted, bool) and (wanted > count or wanted < 1):
        raise KronaError(
            f"trainer.devices={wanted}: this machine has {count} {kind} device{'s' * (count != 1)}; "
            "trainer.devices=1 takes one"
        )
    if count > 1 and wanted != 1:
        raise KronaError(f"trainer.devices={wanted}: a run takes one device; run several side by side with -m")


def _devices(trainer: Trainer) -> tuple[str, int]:
    """The kind of device that a run would take, and how many of it are here."""
    import torch

    mps = int(torch.backends.mps.is_available())
    here = {"cuda": torch.cuda.device_count(), "mps": mps, "cpu": 1}
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


def _fit(settings: Run) -> None:
    """Put the method into the backbone's mere shape: factors and places that don't fit are said before any work."""
    if backbone_source.folder_of(settings.backbone) is None and settings.backbone.sizes is None:
        return  # the shape is the Hub's to tell
    from krona import backbones
    from krona.insertion import insert_method

    model = backbones.meta_model(settings.backbone)
    insert_method(model, settings.method, counterparts=settings.backbone.factor_shapes, reversible=False)
