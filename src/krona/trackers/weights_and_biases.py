"""Log a run at W&B (Weights & Biases) with Lightning's logger, online if possible and otherwise offline."""

import glob
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pytorch_lightning import loggers

from krona.formatting import below
from krona.messages import first_line
from krona.paths import expand
from krona.runs.folder import RunFolder
from krona.runs.predictions import decode_label, is_multilabel, label_words, read_outcomes, read_rows
from krona.runs.result import Result
from krona.secrets_in_text import mask_secrets

MAX_ID = 64  # maximum number of characters of a W&B run id or tag
MAX_GROUP = 128
MAX_CLASSES = 50  # maximum number of classes of the confusion matrix
MAX_REASON = 200  # maximum number of characters of an error in a message
PREDICTION_COLUMNS = ("id", "source", "target", "prediction", "right")
UPLOAD = 3.0  # the time limit of the last upload is this number times ``timeout``
EXIT_CODES = {"success": 0, "failed": 1, "aborted": 130}
MODES = {"offline": "offline", "dryrun": "offline", "disabled": "disabled"}  # all other modes are online


class WandbLogger(loggers.WandbLogger):
    """A `WandbLogger` of Lightning that also works without an API key or a server.

    The W&B run has the id of the krona run, so a resumed run continues the same W&B run.

    Args:
        project, entity, name, group, job_type, tags, notes, id: arguments of ``wandb.init``.
        mode: auto (online if an API key is set), online, offline or disabled.
        dir: the folder in which W&B creates its folder ``wandb``.
        log_adapter: whether to log adapter.safetensors as an artifact.
        table_rows: maximum number of test predictions in the table; 0: no table and no confusion matrix.
        timeout: seconds to wait for the server at the start. The last upload may take three times as long.
        resumed: whether to continue the W&B run with this id.
    """

    def __init__(
        self,
        *,
        project: str = "krona",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str = "train",
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        id: str | None = None,
        mode: Literal["auto", "online", "offline", "disabled", "run", "dryrun"] = "auto",
        dir: str | None = None,
        log_adapter: bool = False,
        table_rows: int = 10_000,
        timeout: float = 20.0,
        resumed: bool = False,
    ) -> None:
        self.mode, self.timeout, self.log_adapter, self.table_rows = mode, timeout, log_adapter, table_rows
        self.resumed, self.agent = resumed, "WANDB_SWEEP_ID" in os.environ  # a W&B agent has already chosen the id
        super().__init__(
            project=project,
            name=name,
            id=None if self.agent else id,
            save_dir=str(expand(dir or ".")),
            entity=entity,
            group=group and group[:MAX_GROUP],
            job_type=job_type,
            tags=[tag[:MAX_ID] for tag in tags or ()],
            notes=notes,
            reinit="create_new",  # otherwise the second run of a process would continue the W&B run of the first
        )

    def open(self) -> str:
        """Start the W&B run, offline if the server fails. Return a message with the location of the logs."""
        os.environ.setdefault("WANDB_SILENT", "true")  # krona prints one line instead of W&B's ten lines
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # error reports would wait for the server at exit
        # If the disk is full, W&B cannot write debug.log. Without this setting, each failed write prints a traceback.
        logging.raiseExceptions = False
        import wandb

        mode, reason = MODES.get(self.mode, "online"), "as requested"
        if self.mode == "auto" and not key_is_set():
            mode, reason = "offline", "no API key is set; run wandb login"
        if mode == "online":
            try:
                return f"online, {self._start(mode).url}"
            except Exception as error:  # W&B raises many exception types
                mode, reason = "offline", f"the server failed: {first_line(error)[:MAX_REASON]}"
                self._experiment = None
                wandb.teardown()  # clean up after the failed attempt
        self._start(mode)
        if mode == "disabled":
            return "disabled, as requested"
        return f"offline ({reason}). The command {self._sync_command()} uploads the run."

    def _start(self, mode: str) -> Any:
        import wandb

        Path(str(self._save_dir)).mkdir(parents=True, exist_ok=True)  # otherwise W&B would use a temporary folder
        settings: dict[str, Any] = {
            "console": "off",
            "silent": True,
            "save_code": False,
            "init_timeout": self.timeout,
            "login_timeout": self.timeout,
            "finish_timeout": UPLOAD * self.timeout,
            "finish_timeout_raises": True,
        }
        known = {key: value for key, value in settings.items() if key in wandb.Settings.model_fields}
        resume = "allow" if self.resumed and not self.agent else None
        self._wandb_init |= {"mode": mode, "resume": resume, "settings": wandb.Settings(**known)}
        command, sys.argv = sys.argv, mask_secrets(sys.argv)  # W&B stores the command line
        try:
            return self.experiment
        finally:
            sys.argv = command

    def log_end(self, summary: Mapping[str, Any], result: Result, run: RunFolder) -> None:
        """Log the final values of a finished run, its test predictions as a table, and its adapter as an artifact."""
        import wandb

        self.experiment.summary.update(dict(summary))
        rows = read_predictions(run, result.config["task"], most=self.table_rows)
        if rows:
            self.experiment.summary["test/predictions"] = wandb.Table(columns=list(PREDICTION_COLUMNS), data=rows)
        if self.table_rows and (chart := confusion_chart(run, result)):
            self.experiment.log({"test/confusion": chart})
        if self.log_adapter and run.adapter.is_file():
            self.experiment.log_artifact(str(run.adapter), name=f"adapter-{self.version}", type="adapter")

    def finalize(self, status: str) -> str | None:  # type: ignore[override]
        """End the W&B run. Return a message if some values have not been uploaded yet."""
        run = self._experiment
        if run is None:
            return None
        try:
            run.finish(exit_code=EXIT_CODES[status])
        except TimeoutError:
            late = f"the server did not accept all values within {UPLOAD * self.timeout:g} s"
            return f"{late}. The command {self._sync_command()} uploads the rest."
        return None

    def _sync_command(self) -> str:
        """Return the command that uploads the local files of the W&B run.

        A resumed run has one offline folder for each of its processes. The folders are uploaded in the order of their
        start times.
        """
        own = Path(self.experiment.dir).parent
        if not own.name.startswith("offline"):
            return f"wandb sync --include-online {below(own)}"  # without the option, W&B skips online runs
        folders = sorted(own.parent.glob(f"offline-run-*-{glob.escape(self.experiment.id)}")) if self.resumed else [own]
        return f"wandb sync {' '.join(map(below, folders))}"


def read_predictions(run: RunFolder, task: Mapping[str, Any], *, most: int) -> list[list[Any]]:
    """Return at most ``most`` test predictions of a run, with the columns `PREDICTION_COLUMNS`.

    Args:
        task: the task of the run. In the rows, label names replace the target texts.
    """
    rows: list[list[Any]] = []
    columns = read_rows(run.predictions, "split", "id", "source", "target", "prediction").values()
    for split, id_, source, target, prediction in zip(*columns, strict=True):
        if split == "test" and len(rows) < most:
            labels = [decode_label(text, task) for text in (target, prediction)]
            rows.append([id_, source, *labels, int(target == prediction)])
    return rows


def confusion_chart(run: RunFolder, result: Result) -> Any:
    """Return W&B's chart of the test set's confusion matrix, or None without test predictions or with many classes."""
    import wandb

    task = result.config["task"]
    words = [*label_words(task).values()]
    has_matrix = 0 < len(words) <= MAX_CLASSES and not is_multilabel(task)
    found = read_outcomes(result, run.predictions).get("test") if has_matrix else None
    if found is None:
        return None
    given = np.where(found.answers.predictions < 0, len(words), found.answers.predictions)
    return wandb.plot.confusion_matrix(
        y_true=found.answers.targets.tolist(), preds=given.tolist(), class_names=[*words, "no label"], title="Test"
    )


def wandb_id(run_id: str) -> str:
    """Return a run id that W&B accepts.

    Characters that W&B does not allow, such as ``:`` and ``/``, are replaced by ``_``. In an id of more than 64
    characters, the characters before the hash at the end are cut.
    """
    clean = re.sub(r"[^A-Za-z0-9_.-]", "_", run_id)
    return clean if len(clean) <= MAX_ID else f"{clean[: MAX_ID - 11]}-{clean[-10:]}"


def key_is_set() -> bool:
    """Return whether an API key is set in the environment or in the netrc file that `wandb login` writes."""
    from requests.utils import get_netrc_auth  # the function with which W&B reads the file

    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    return get_netrc_auth(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai") is not None
