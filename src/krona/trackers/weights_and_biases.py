"""W&B through Lightning's logger: online where a key is set, offline without one or where the server fails.

The W&B run has the run's own id. A resumed run logs all its epochs again: online, those that the server has are left
out; offline, a new file holds the whole history and replaces the unfinished one.
"""

import glob
import logging
import netrc
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from krona.files import remove_below
from krona.messages import KronaError, plain_name
from krona.outputs.folder import RunFolder
from krona.screen import below
from krona.trackers.guard import one_line
from krona.trackers.tracker import About, Ending, Value, require
from krona.trackers.values import STEP, STEP_LOSS, predictions

LONGEST_ID = 64  # of a W&B run
LONGEST_TAG = 64
UPLOAD = 3.0  # timeouts that the last upload may take
NO_ROOM = 2**16  # bytes left on a disk that is full
EXIT_CODES: dict[Ending, int] = {"done": 0, "failed": 1, "interrupted": 130}


class WeightsAndBiases:
    """A W&B run.

    Args:
        project: of W&B; created by the server if it is new.
        entity: the team or user; null: the key's own.
        name: of the W&B run; null: the run id. The W&B run's id is the run id in any case.
        group: null: the name of the sweep.
        job_type: any word.
        tags: null: the method and the task.
        notes: a text about the run.
        mode: ``auto``: online where a key is set; or one of W&B's own, ``online``, ``offline``, ``disabled``.
        dir: the folder in which W&B makes its folder ``wandb``; null: outputs/.
        log_adapter: keep adapter.safetensors as an artifact.
        table_rows: the most test predictions in the table; 0: no table.
        timeout: seconds to wait for the server at the start; three times as long for the last upload.
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
        mode: Literal["auto", "online", "offline", "disabled", "run", "dryrun"] = "auto",
        dir: str | None = None,
        log_adapter: bool = False,
        table_rows: int = 10_000,
        timeout: float = 20.0,
    ) -> None:
        self.project, self.entity, self.mode, self.dir = project, entity, mode, dir
        self.name, self.group, self.job_type, self.tags, self.notes = name, group, job_type, tags, notes
        self.log_adapter, self.table_rows, self.timeout = log_adapter, table_rows, timeout
        self._run: Any = None
        self._unsent: list[str] = []

    @staticmethod
    def check(arguments: Mapping[str, Any]) -> None:
        require("wandb", logger="wandb")
        for key in ("project", "entity"):
            plain_name(f"logger.wandb.{key}", arguments.get(key), forbidden="/\\#?%:")
        for key in ("name", "group"):
            plain_name(f"logger.wandb.{key}", arguments.get(key), forbidden="\n")
        for key, value in [
            ("job_type", arguments.get("job_type")),
            *(("tags", t) for t in arguments.get("tags") or ()),
        ]:
            plain_name(f"logger.wandb.{key}", value, forbidden="\n", longest=LONGEST_TAG)
        if (timeout := arguments.get("timeout", 1)) <= 0:
            raise KronaError(f"logger.wandb.timeout={timeout}: expected seconds above 0")

    def open(self, about: About) -> str:
        os.environ.setdefault("WANDB_SILENT", "true")  # one line of ours instead of ten of W&B's
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # its telemetry waits for the server at exit
        # on a full disk each line of W&B's debug.log would print a trace, also after a call that timed out
        logging.raiseExceptions = False
        import wandb

        self.about = about
        mode, why = self._mode()
        if mode == "online":
            try:
                self._run = self._init(wandb, mode)
            except Exception as error:
                mode, why = "offline", f"the server failed: {one_line(error)}"
                wandb.teardown()  # the rest of the attempt
        if self._run is None:
            self._run = self._init(wandb, mode)
        self._log_config()
        if mode == "online":
            return f"online, {self._run.url}"
        if mode == "disabled":
            return "disabled, as asked"
        self._remove_unfinished()
        return f"offline ({why}); {sync_command(self._run)} uploads it"

    def _mode(self) -> tuple[str, str]:
        """online, offline or disabled, and why offline."""
        if self.mode in ("offline", "dryrun"):
            return "offline", "as asked"
        if self.mode == "disabled":
            return "disabled", ""
        if self.mode in ("online", "run") or key_is_set():
            return "online", ""
        return "offline", "no key is set: wandb login"

    def _init(self, wandb: Any, mode: str) -> Any:
        wanted = {
            "console": "off",
            "silent": True,
            "save_code": False,
            "init_timeout": self.timeout,
            "login_timeout": self.timeout,
            "finish_timeout": UPLOAD * self.timeout,
            "finish_timeout_raises": True,
        }
        settings = {key: value for key, value in wanted.items() if key in wandb.Settings.model_fields}
        identity: dict[str, Any] = {"id": wandb_id(self.about.run_id)}
        if mode == "online" and self.about.resumed:
            identity["resume"] = "allow"  # without it the server would start the run anew
        if "WANDB_SWEEP_ID" in os.environ:
            identity = {}  # a W&B agent has already named the run
        place = self.about.outputs if self.dir is None else Path(self.dir).expanduser()
        place.mkdir(parents=True, exist_ok=True)  # W&B would take a temporary folder instead
        return wandb.init(
            project=self.project,
            entity=self.entity,
            name=self.name or self.about.run_id,
            group=self.group or (self.about.sweep and self.about.sweep[:128]),
            job_type=self.job_type,
            tags=list(self.tags or (self.about.method[:LONGEST_TAG], self.about.task[:LONGEST_TAG])),
            notes=self.notes,
            dir=str(place),
            mode=mode,
            reinit="create_new",  # never the run of another job in this process
            settings=wandb.Settings(**settings),
            **identity,
        )

    def _log_config(self) -> None:
        from pytorch_lightning.loggers import WandbLogger

        WandbLogger(experiment=self._run).log_hyperparams(dict(self.about.config))
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")
        self._run.define_metric(STEP)
        self._run.define_metric(STEP_LOSS, step_metric=STEP)

    def steps(self, losses: Mapping[int, float]) -> None:
        for step, loss in losses.items():
            self._log({STEP: step, STEP_LOSS: loss}, step=step, commit=False)  # the last is in the epoch's row

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self._log(values, step=int(values.get(STEP, number)), commit=True)

    def _log(self, values: Mapping[str, float], *, step: int, commit: bool) -> None:
        if step >= self._run.step:  # a resumed run's server has the others
            self._run.log(dict(values), step=step, commit=commit)

    def end(self, summary: Mapping[str, Value]) -> None:
        self._run.summary.update(dict(summary))
        for what, send in (("test predictions", self._send_predictions), ("adapter", self._send_adapter)):
            try:
                send()
            except Exception:  # W&B asks its server first; `close` names what was not sent
                self._unsent.append(what)

    def _send_predictions(self) -> None:
        import wandb

        columns, rows = predictions(self.about.folder, self.about.label_words, most=self.table_rows)
        if rows:
            self._run.summary["test/predictions"] = wandb.Table(columns=list(columns), data=list(rows))

    def _send_adapter(self) -> None:
        import wandb

        adapter = RunFolder(self.about.folder).adapter
        if self.log_adapter and adapter.is_file():
            artifact = wandb.Artifact(f"adapter-{wandb_id(self.about.run_id)}", type="adapter")
            artifact.add_file(str(adapter))
            self._run.log_artifact(artifact)

    def close(self, ending: Ending) -> str | None:
        if self._run is None:
            return None
        run, self._run = self._run, None
        missing = f" (without {' and '.join(self._unsent)}: see {self.about.folder})" if self._unsent else ""
        try:
            run.finish(exit_code=EXIT_CODES[ending])
        except TimeoutError:
            late = f"the server did not take everything in {UPLOAD * self.timeout:g} s"
            return f"{late}; {sync_command(run)} uploads the rest{missing}"
        folder = Path(run.dir).parent
        if shutil.disk_usage(folder).free < NO_ROOM:  # W&B itself says so in a file, if there
            return f"the disk is full: {below(folder)} lacks what came last; see {self.about.folder}"
        return f"not everything could be sent{missing}" if missing else None

    def _remove_unfinished(self) -> None:
        """Remove offline files of this run's earlier attempts: the new one holds all of them."""
        own = Path(self._run.dir).parent
        for folder in own.parent.glob(f"offline-run-*-{glob.escape(self._run.id)}"):
            if folder != own:
                remove_below(own.parents[1], folder)


def sync_command(run: Any) -> str:
    """The command that uploads a run from the disk."""
    folder = Path(run.dir).parent
    online = "" if folder.name.startswith("offline") else "--include-online "  # without it, W&B skips them
    return f"wandb sync {online}{below(folder)}"


def wandb_id(run_id: str) -> str:
    """A run id as W&B takes it: none of ``:;,#?/'``, at most 64 characters, the hash at its end kept."""
    clean = re.sub(r"[^A-Za-z0-9_.-]", "_", run_id)
    return clean if len(clean) <= LONGEST_ID else f"{clean[: LONGEST_ID - 11]}-{clean[-10:]}"


def key_is_set() -> bool:
    """Whether W&B would find a key: in the environment, or in the netrc file that `wandb login` writes."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    candidates = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    for path in (Path(candidate).expanduser() for candidate in candidates if candidate):
        try:
            if netrc.netrc(str(path)).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
