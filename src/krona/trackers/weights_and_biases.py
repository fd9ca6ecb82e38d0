"""The tracker for W&B (Weights & Biases).

By default, W&B is used online if an API key is set. It is used offline if no key is set or the server fails.

The W&B run has the same id as the krona run. A resumed run logs all its epochs again. Online, the tracker does not send
rows that the server already has. Offline, a new file with the whole history replaces the file of the unfinished run.
"""

import glob
import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from krona.formatting import below
from krona.messages import KronaError, check_name, first_line
from krona.paths import expand
from krona.runs.folder import RunFolder
from krona.safe_files import remove_below
from krona.trackers.logged_values import PREDICTION_COLUMNS, STEP, STEP_LOSS, read_predictions
from krona.trackers.tracker import MAX_REASON, About, Ending, Value

MAX_ID = 64  # maximum number of characters in a W&B run id
MAX_TAG = 64
UPLOAD = 3.0  # the time limit of the last upload is this number times ``timeout``
FULL_DISK = 2**16  # bytes; a disk with less free space counts as full
EXIT_CODES: dict[Ending, int] = {"done": 0, "failed": 1, "interrupted": 130}
MODES = {"offline": "offline", "dryrun": "offline", "disabled": "disabled"}  # all other modes are online


@dataclass(kw_only=True, eq=False)
class WeightsAndBiases:
    """A tracker that logs to a W&B run. As in Lightning, the number of a row is that of the step, counted from 0."""

    project: str = "krona"  # the server creates the project if it does not exist
    entity: str | None = None  # the team or user; null: the default entity of the API key
    name: str | None = None  # null: the run id
    group: str | None = None  # null: the name of the sweep
    job_type: str = "train"
    tags: Sequence[str] | None = None  # null: the names of the method and the task
    notes: str | None = None
    mode: Literal["auto", "online", "offline", "disabled", "run", "dryrun"] = "auto"  # auto: online if a key is set
    dir: str | None = None  # the folder in which W&B creates its folder ``wandb``; null: outputs/
    log_adapter: bool = False  # whether to log adapter.safetensors as an artifact
    table_rows: int = 10_000  # maximum number of test predictions in the table; 0: no table
    timeout: float = 20.0  # seconds to wait for the server at the start; three times as long for the last upload
    run: Any = field(default=None, init=False)  # the W&B run
    first: int = field(default=0, init=False)  # the number of the first row that the server does not have
    unsent: list[str] = field(default_factory=list, init=False)

    @staticmethod
    def check(arguments: Mapping[str, Any]) -> None:
        for key, characters in {"project": "/\\#?%:", "entity": "/\\#?%:", "name": "\n", "group": "\n"}.items():
            check_name(f"logger.wandb.{key}", arguments.get(key), forbidden=characters)
        for key, values in (("job_type", [arguments.get("job_type")]), ("tags", arguments.get("tags") or ())):
            for value in values:
                check_name(f"logger.wandb.{key}", value, forbidden="\n", longest=MAX_TAG)
        if (timeout := arguments.get("timeout", 1)) <= 0:
            raise KronaError(f"logger.wandb.timeout={timeout} is not a number of seconds above 0.")

    def open(self, about: About) -> str:
        self.about = about
        line = self._start()
        if not self.first:
            self.run.config.update(dict(about.config), allow_val_change=True)
        return line

    def _start(self) -> str:
        """Start the W&B run, offline if the server fails. Return a line that tells the user where the logs are."""
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
                self.run = self._connect(mode)
            except Exception as error:
                mode, reason = "offline", f"the server failed: {first_line(error)[:MAX_REASON]}"
                wandb.teardown()  # clean up after the failed attempt
        if self.run is None:
            self.run = self._connect(mode)
        if mode == "online":
            self.first = self.run.step
            return f"online, {self.run.url}"
        if mode == "disabled":
            return "disabled, as requested"
        self._remove_unfinished()
        return f"offline ({reason}). The command {sync_command(self.run)} uploads the run."

    def _connect(self, mode: Any) -> Any:
        """Start a W&B run, and return it."""
        import wandb

        about = self.about
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
        agent = "WANDB_SWEEP_ID" in os.environ  # a W&B agent has already chosen the id
        place = about.outputs if self.dir is None else expand(self.dir)
        place.mkdir(parents=True, exist_ok=True)  # otherwise W&B would use a temporary folder
        # Lightning's logger would reuse a run that is open in this process, and resume a run that should start again.
        run = wandb.init(
            id=None if agent else wandb_id(about.run_id),
            resume="allow" if mode == "online" and about.resumed and not agent else None,
            name=self.name or about.run_id,
            project=self.project,
            entity=self.entity,
            group=self.group or (about.sweep and about.sweep[:128]),
            job_type=self.job_type,
            tags=list(self.tags or (about.method[:MAX_TAG], about.task[:MAX_TAG])),
            notes=self.notes,
            dir=str(place),
            mode=mode,
            reinit="create_new",
            settings=wandb.Settings(**known),
        )
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step")
        return run

    def steps(self, losses: Mapping[int, float]) -> None:
        for step, loss in losses.items():
            self._log({STEP_LOSS: loss}, step)

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self._log(values, int(values.get(STEP, number)))

    def _log(self, values: Mapping[str, float], step: int) -> None:
        # With Lightning's `log_metrics`, W&B chooses the number of each row. Here krona sets the number, because a
        # resumed run must give each row the same number as before.
        row = max(0, step - 1)
        if row >= self.first:
            self.run.log({**values, "trainer/global_step": row}, step=row, commit="epoch" in values)

    def end(self, summary: Mapping[str, Value]) -> None:
        self.run.summary.update(dict(summary))
        for name, send in (("test predictions", self._send_predictions), ("adapter", self._send_adapter)):
            try:
                send()
            except Exception:  # the server may fail; `close` reports what was not sent
                self.unsent.append(name)

    def _send_predictions(self) -> None:
        import wandb

        if rows := read_predictions(self.about, most=self.table_rows):
            self.run.summary["test/predictions"] = wandb.Table(columns=list(PREDICTION_COLUMNS), data=rows)

    def _send_adapter(self) -> None:
        adapter = RunFolder(self.about.folder).adapter
        if self.log_adapter and adapter.is_file():
            self.run.log_artifact(str(adapter), name=f"adapter-{wandb_id(self.about.run_id)}", type="adapter")

    def close(self, ending: Ending) -> str | None:
        if self.run is None:
            return None
        missing = f" ({' and '.join(self.unsent)} could not be sent; see {self.about.folder})" if self.unsent else ""
        try:
            self.run.finish(exit_code=EXIT_CODES[ending])
        except TimeoutError:
            late = f"the server did not accept all values within {UPLOAD * self.timeout:g} s"
            return f"{late}. The command {sync_command(self.run)} uploads the rest{missing}."
        folder = Path(self.run.dir).parent
        if shutil.disk_usage(folder).free < FULL_DISK:  # W&B reports it only in a log file
            return f"the disk is full. The last values are missing in {below(folder)}. See {self.about.folder}."
        return f"the upload is incomplete{missing}." if missing else None

    def _remove_unfinished(self) -> None:
        """Remove the offline files of earlier attempts, because the new file contains all their values."""
        own = Path(self.run.dir).parent
        for folder in own.parent.glob(f"offline-run-*-{glob.escape(self.run.id)}"):
            if folder != own:
                remove_below(own.parents[1], folder)


def sync_command(run: Any) -> str:
    """Return the command that uploads the local files of a run."""
    folder = Path(run.dir).parent
    online = "" if folder.name.startswith("offline") else "--include-online "  # otherwise W&B skips online runs
    return f"wandb sync {online}{below(folder)}"


def wandb_id(run_id: str) -> str:
    """Return a run id that W&B accepts.

    Characters that W&B does not allow, such as ``:`` and ``/``, are replaced by ``_``. An id of more than 64 characters
    is shortened in the middle, so that it keeps the hash at the end.
    """
    clean = re.sub(r"[^A-Za-z0-9_.-]", "_", run_id)
    return clean if len(clean) <= MAX_ID else f"{clean[: MAX_ID - 11]}-{clean[-10:]}"


def key_is_set() -> bool:
    """Return whether an API key is set in the environment or in the netrc file that `wandb login` writes."""
    from requests.utils import get_netrc_auth  # the function with which W&B reads the file

    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    return get_netrc_auth(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai") is not None
