"""What `python train.py … --cfg job` shows: the values that the run would use, and what it would be refused for."""

from collections.abc import Sequence

from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from krona import check
from krona.jobs import identify
from krona.requirements import require
from krona.sweeping import sweeps


def shown(arguments: Sequence[str]) -> str | None:
    """The job's values as YAML, its id and notes as comments; None where something else is asked for.

    A multirun's first job stands for all. ``arguments`` are prepared (`krona.typed.prepared`).

    Raises:
        KronaError: what the run itself would say, but for what only the Hub can give.
    """
    asked = get_args_parser().parse_args(list(arguments))
    if asked.cfg != "job" or any((asked.help, asked.package, asked.config_name, asked.config_path, asked.config_dir)):
        return None
    with sweeps.hydra_session():
        jobs = sweeps.expand(asked.overrides) if asked.multirun else [tuple(asked.overrides)]
        composed = sweeps.compose_job(jobs[0])
    settings = check.settings(composed.config)
    used, notes = require(settings, from_hub=False)
    comments = [identify(settings), *composed.notes, *notes]
    if len(jobs) > 1:
        comments.insert(0, f"the first of {len(jobs):,} runs: {' '.join(jobs[0])}")
    text: str = OmegaConf.to_yaml(OmegaConf.create(dict(composed.config)))
    typed, here = composed.config["method"].get("kron_factors"), used.get("kron_factors")
    if here != typed:
        text = text.replace("\n  kron_factors:\n", f"\n  kron_factors:  # on this backbone {here}\n", 1)
    return "".join(f"# {line}\n" for line in comments) + text
