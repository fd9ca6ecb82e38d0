"""Compute the hashes of a run: its id, which is the name of its folder, and those of its code.

A run id has a readable part and a hash of everything that affects the result: the config, the data, the backbone and
the user's own classes. The time, the version of krona, the machine and the paths do not change the run id, and are
recorded in the result. This module lists the config keys that are not part of the hash. All other keys are part of the
hash, so that a run with a new key never gets the id of an existing run.
"""

import ast
import hashlib
import json
import math
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib import metadata
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krona.methods.factor_shapes import shape_name
from krona.paths import INSTALLED, PROJECT, VERSION

if TYPE_CHECKING:
    from krona.runs.result import Result  # needs pydantic, which takes 0.15 s to import

LIBRARIES = ("torch", "transformers", "pytorch-lightning", "hydra-core", "datasets", "numpy")
CODE = ("src", "conf", "train.py")
PATH_KEYS = ("backbone.path", "backbone.tokenizer", "data.path")  # the hash contains fingerprints of their contents
NOT_IDENTITY = frozenset(
    {
        *PATH_KEYS,
        "keep",
        "logger",
        "min_score",
        "overwrite",
        "retry",
        "sweep",
        "method.label",
        "method.order",
        "method.source",
        "task.files",
        "task.max_steps",  # the default of trainer.max_steps
        "task.skip_bad_rows",  # the default of data.skip_bad_rows
        "task.slices",
        "trainer.accelerator",
        "trainer.benchmark",
        "trainer.detect_anomaly",
        "trainer.deterministic",
        "trainer.devices",
        "trainer.enable_model_summary",
        "trainer.enable_progress_bar",
        "trainer.eval_batch_size",
        "trainer.gradient_checkpointing",
        "trainer.log_every_n_steps",
        "trainer.num_sanity_val_steps",
        "trainer.num_workers",
        "trainer.profiler",
        "trainer.strategy",
        "trainer.threads",
    }
)

# Keys that were added after the first runs. The listed value has the same effect as a missing key. A key with this
# value is not part of the hash, so that the ids of old runs stay valid.
OFF_IS_ABSENT: dict[str, Any] = {
    "trainer.bucket_by_length": False,
    "trainer.compile": False,
    "trainer.limit_train_batches": 1.0,  # the integer 1 means one batch
    "trainer.accumulate_grad_batches": 1,
    "trainer.fast_dev_run": False,
    "optimizer.lr_factors": {},
    "method.alpha": None,
    "method.rank_stabilised": False,
    "method.dropout": 0.0,
    "scheduler": {"_target_": "transformers.get_linear_schedule_with_warmup"},
    "data.quoting": None,
    "data.subset_seed": None,
    "data.dev_from_train": None,
    "data.test_from_train": None,
    "task.class_weights": None,
    "task.kind": None,
    "task.label_separator": ",",
    "backbone.architecture": None,
    "backbone.pooling": None,
    "backbone.quantisation": None,
    "init_from": None,
}

# Lightning's callbacks that only observe a run and are not part of the hash. Any other callback may change the result.
OBSERVERS = frozenset(
    f"pytorch_lightning.callbacks.{name}"
    for name in ("DeviceStatsMonitor", "LearningRateMonitor", "ModelCheckpoint", "ModelSummary", "RichModelSummary",
                 "RichProgressBar", "TQDMProgressBar")
)  # fmt: skip


def run_id(config: Mapping[str, Any], *, data_fingerprint: str, backbone_fingerprint: str) -> str:
    """Return a run id such as ``krona-rte-t5_base-32x24-s0-1f3a5c7e9b``.

    Configs with equal values have the same id, even if the values are written differently, such as 1, 1.0 and 1e0.
    """
    counted = {"config": canonical(config), "data": data_fingerprint, "backbone": backbone_fingerprint}
    counted |= {"code": code} if (code := own_code(config)) else {}
    text = json.dumps(counted, sort_keys=True, ensure_ascii=True)
    digest = hashlib.blake2b(text.encode(), digest_size=5).hexdigest()
    groups = [config.get(group) for group in ("method", "task", "backbone")]
    words = [group.get("name") if isinstance(group, Mapping) else None for group in groups]
    factors = canonical(groups[0].get("kron_factors")) if isinstance(groups[0], Mapping) else None
    if isinstance(factors, list) and factors and isinstance(factors[0], list):
        words.append(shape_name(factors[0]))
    words.append(f"s{canonical(config.get('seed'))}")
    readable = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", str(word).rsplit("/", 1)[-1])[:40] for word in words if word)
    return f"{readable}-{digest}"


def canonical(value: object, path: str = "") -> Any:
    """Return the canonical form of a config value for the hash. ``path`` is the dotted key of the value.

    Keys that are not part of the run id are removed. Equal numbers, such as 1, 1.0 and 1e0, have the same form.
    """
    if isinstance(value, Mapping):
        places = {key: f"{path}.{key}" if path else str(key) for key in value}
        return {str(key): canonical(item, places[key]) for key, item in value.items() if _counts(places[key], item)}
    if isinstance(value, list | tuple):
        return [canonical(item, path) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else value
    return value if value is None or isinstance(value, str | int) else repr(value)


def _counts(path: str, value: object) -> bool:
    """Return whether the config value at a dotted key is part of the run id."""
    if path in NOT_IDENTITY:
        return False
    if path in OFF_IS_ABSENT:
        off = OFF_IS_ABSENT[path]
        return not (type(value) is type(off) and value == off)
    if path == "callbacks" and isinstance(value, Mapping):
        return any(_counts(f"callbacks.{name}", callback) for name, callback in value.items())
    is_callback = path.startswith("callbacks.")
    return not (is_callback and isinstance(value, Mapping) and value.get("_target_") in OBSERVERS)


def find_value(config: object, key: str) -> Any:
    """Return the value of a dotted key, or None if the config does not have the key."""
    for part in key.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config


def flatten(value: object, path: str = "", *, separator: str = ".") -> Iterable[tuple[str, Any]]:
    """Yield the key, such as ``method.name``, and the value of each leaf. Empty mappings are leaves."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from flatten(item, f"{path}{separator}{key}" if path else str(key), separator=separator)
    else:
        yield path, value


def as_text(value: object) -> str:
    """Return a config value as text for an override. For a list of factor shapes, return only the first shape."""
    if isinstance(value, list) and value and all(isinstance(item, list) and len(item) == 2 for item in value):
        return shape_name(value[0])  # the shape of B follows from the shapes of A and of the layer
    if isinstance(value, list):
        return ",".join(as_text(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value)


def provenance(*, device: str, threads: int) -> dict[str, Any]:
    """Return a dict with the commit, library versions, device, number of threads and host of this process."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    versions["krona"] = VERSION
    about = {"versions": versions, "device": device, "threads": threads, "host": platform.node()}
    return {**code_version(), **about}


@cache
def code_version() -> dict[str, Any]:
    """Return the version of the code as a dict.

    ``git_commit`` is the commit, ``git_dirty`` is true if the code has changes that are not in this commit, and
    ``git_code`` is the last commit that changed the code. ``git_src`` and ``git_conf`` are git's hashes of the folders,
    which stay the same if the commit is rewritten. All values are None if the code is not in a git checkout, or is an
    installed package (even inside another project's checkout).
    """

    def git(*arguments: str) -> str | None:
        if INSTALLED:
            return None
        try:
            command = ["git", *arguments]
            done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    status = git("status", "--porcelain", "--", *CODE)
    return {
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "git_code": git("log", "-1", "--format=%H", "--", *CODE),
        "git_src": git("rev-parse", "HEAD:src"),
        "git_conf": git("rev-parse", "HEAD:conf"),
    }


def own_code(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the file hashes of the user's own modules that a config names in ``_target_``, by module name.

    The modules of the same folder that these modules import are included. The section ``logger`` is ignored, because
    loggers do not affect results. No module is imported.
    """
    targets = _targets([value for key, value in config.items() if key != "logger"])
    modules = sorted({target.rpartition(".")[0] for target in targets})
    return {name: digest for module in modules for name, digest in _own_modules(module).items()}


def method_code(config: Mapping[str, Any]) -> str | None:
    """Return the hash of the file that defines the method's class, or None if no file was found."""
    return _hash_module(_method_module(config))


def method_change(result: "Result") -> list[str]:
    """Return a message if the file of the method's class has changed since a run."""
    then, now = result.provenance.get("method_code"), method_code(result.config)
    return [] if None in (then, now) or then == now else [f"{_method_module(result.config)} has changed since this run"]


def code_change(result: "Result") -> list[str]:
    """Return messages on changes of the code since this run."""
    messages = method_change(result)
    code, then = code_version()["git_code"], result.provenance.get("git_code")
    if code is not None and then is not None and code != then:
        messages.append(f"krona has changed since this run, from commit {then[:8]} to {code[:8]}")
    return messages


def _method_module(config: Mapping[str, Any]) -> str:
    return str(config["method"].get("_target_") or "").rpartition(".")[0]


def _targets(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from [value["_target_"]] if isinstance(value.get("_target_"), str) else []
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ():
        yield from _targets(item)


@cache  # a file that is edited later does not change the code of this process
def _hash_module(module: str) -> str | None:
    """Return the hash of a module's file, or None if it was not found."""
    folder = _find_folder(module)
    file = folder and _find_file(folder, module)
    return _hash(file.read_bytes()) if file else None


@cache
def _own_modules(module: str) -> Mapping[str, str]:
    """Return the file hashes of a user's own module and of the modules of its folder that it imports, by module name.

    Import statements are followed without an import, also those inside functions. The packages that contain a module
    are included. Return an empty dict if the module was not found or belongs to an installed package.
    """
    hashes, names, folder = dict[str, str](), [module], _find_folder(module)
    while folder is not None and names:
        for name in accumulate(names.pop().split("."), "{}.{}".format):
            file = _find_file(folder, name)
            if file is None or name in hashes or not _is_own(file):
                continue
            code = file.read_bytes()
            hashes[name] = _hash(code)
            names += _imported_names(code, package=name if file.name == "__init__.py" else name.rpartition(".")[0])
    return dict(sorted(hashes.items()))


def _imported_names(code: bytes, *, package: str) -> Iterator[str]:
    """Yield the full names in the import statements of a module. Some names are not modules but objects in a module."""
    try:
        nodes = [*ast.walk(ast.parse(code))]
    except (SyntaxError, ValueError):  # the import of the module will raise this error
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _find_folder(module: str) -> Path | None:
    """Return the first folder of Python's path, or the working directory, that contains a module."""
    folders = map(Path, (*sys.path, str(Path.cwd())))
    return next((folder for folder in folders if module and _find_file(folder, module)), None)


def _find_file(folder: Path, module: str) -> Path | None:
    base = folder.joinpath(*module.split("."))
    return next((file for file in (base / "__init__.py", base.with_name(f"{base.name}.py")) if file.is_file()), None)


def _is_own(file: Path) -> bool:
    """Return whether a file belongs to the user, and not to Python, krona or another installed package."""
    installed = {Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("platstdlib"))}
    real = file.resolve()
    return not ({"site-packages", "dist-packages"} & {*real.parts} or installed & {*real.parents})


def _hash(code: bytes) -> str:
    return hashlib.blake2b(code, digest_size=8).hexdigest()
