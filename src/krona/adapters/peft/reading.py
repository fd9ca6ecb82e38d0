"""Read a peft folder as an adapter of krona."""

import re
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from krona.adapters.adapter import Adapter
from krona.adapters.peft.folder import Folder, open_folder
from krona.adapters.peft.module_names import module_names, shortest
from krona.adapters.peft.type_readers import READERS, Tensors
from krona.messages import KronaError, shorten
from krona.surgery.state import backbone_parameters, norm_modules

PARTS = {
    "LORA": {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"},
    "IA3": {"ia3_l"},
    "LOKR": {"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b"},
    "MISS": {"miss_block"},
    "C3A": {"c3a_kernel"},
    "HIRA": {"hira_A", "hira_B"},
    "VERA": {"vera_lambda_b", "vera_lambda_d"},
    "LN_TUNING": {"ln_tuning_layers.weight", "ln_tuning_layers.bias"},
}
BASE = ".base_layer."
PATTERNS = (
    "rank_pattern", "alpha_pattern", "block_size_pattern", "target_modules", "exclude_modules", "feedforward_modules",
    "layers_pattern",
)  # fmt: skip
LIMIT_S = 5.0  # CPU time for all names of modules; a usual expression takes a millisecond
MATRICES = ("lora_A", "lora_B", "ia3_l", "lokr_", "miss_", "hira_")


@dataclass(frozen=True)
class PeftImport:
    """The content of a peft folder, with its adapter in krona's form."""

    peft_type: str
    places: int  # the number of adapted modules
    modules_to_save: tuple[str, ...]  # the modules of the backbone whose complete weights are in the folder
    adapter: Adapter


@torch.no_grad()
def read_peft(model: nn.Module, folder: str | Path) -> PeftImport:
    """Read a peft folder as an adapter of a backbone. The backbone is not changed.

    peft's types are read as these classes of krona:

    - LORA as `LoRA`, also with DoRA, rsLoRA, ``rank_pattern`` and ``alpha_pattern``.
    - IA3, MISS, C3A, HIRA and VERA as the classes with these names.
    - LOKR as `LoKr`. It is read as `Kronecker` if krona wrote the folder from a `Kronecker`, or if `LoKr` does not
      support the folder's ranks.
    - LN_TUNING and ``modules_to_save`` as the options ``train_layer_norms`` and ``head``.

    In krona, all modules of an adapter have the same rank and scale. LORA tensors of a lower rank are therefore padded
    with zeros. If a module has another scale, its tensors are multiplied by the ratio of the scales. This does not
    change the outputs. The names of the tensors determine the adapted modules. Dropout is ignored.

    Raises:
        KronaError: krona does not support the type or a setting, the weights are a pickle file, or the folder belongs
            to another backbone.
    """
    names, norms = module_names(model), set(norm_modules(model))
    own = dict(backbone_parameters(model, tied=True))
    opened = open_folder(Path(folder))
    _check_patterns(opened.path, opened.config, names)
    placed, saved = _sort(own, set(names), opened)
    branch, config, tensors, placement = READERS[opened.peft_type](model, opened, placed)
    insertion = _trained(names, norms, opened, saved) | placement
    if branch is not None and "target_modules" not in insertion:
        insertion["target_modules"] = shortest(placed, names)
    adapter = Adapter.create(branch, config, tensors | saved, insertion)
    modules = tuple(dict.fromkeys(key.rpartition(".")[0] for key in saved))
    return PeftImport(opened.peft_type, len(placed), modules, replace(adapter, path=opened.path))


def _sort(own: Mapping[str, nn.Parameter], names: set[str], opened: Folder) -> tuple[dict[str, Tensors], Tensors]:
    """Return the branches' tensors by module and name, and the tensors of complete modules by the backbone's names.

    ``own`` are the parameters of the backbone by name, and ``names`` are the names of its modules.
    """
    tied = Counter(map(id, own.values()))
    words = opened.config.get("modules_to_save") or []
    placed: dict[str, Tensors] = {}
    saved: Tensors = {}
    for key, tensor in opened.tensors.items():
        part = next((part for part in PARTS[opened.peft_type] if key.endswith(f".{part}")), None)
        if part is not None:
            place = key.removesuffix(f".{part}")
            if not tensor.numel() or (tensor.dim() != 2 and part.startswith(MATRICES)):
                raise KronaError(f"In {opened.path}, {key} has the shape {tuple(tensor.shape)}, so it is not a matrix.")
            if place not in names:
                raise KronaError(f"{opened.path} adapts {place}, but this backbone has no such module.")
            if opened.peft_type == "LN_TUNING":
                saved[f"{place}.{part.removeprefix('ln_tuning_layers.')}"] = tensor
            placed.setdefault(place, {})[part] = tensor
        elif BASE in key and key.replace(BASE, ".") in own:  # peft also saves an output layer that it adapts
            if not torch.equal(own[key.replace(BASE, ".")].detach().cpu().to(tensor.dtype), tensor.cpu()):
                raise KronaError(f"{opened.path} contains {key}, which differs from this backbone's weight.")
        elif key not in own:
            raise KronaError(f"{opened.path} contains the weight {key}, but this backbone has no such weight.")
        elif not any(key.rpartition(".")[0].endswith(word) or f".{word}." in f".{key}" for word in words):
            raise KronaError(
                f"{opened.path} contains the backbone's weight {key}, but modules_to_save does not name its module. "
                "krona cannot read such weights (resized embeddings or biases)."
            )
        elif tied[id(own[key])] > 1:
            raise KronaError(
                f"In {opened.path}, modules_to_save contains {key}, but two modules of this backbone share this "
                "weight. peft trains a copy for one of the modules, and krona would change both."
            )
        else:
            saved[key] = tensor
    for key, tensor in saved.items():
        if key not in own or own[key].shape != tensor.shape:
            here = tuple(own[key].shape) if key in own else "none"
            raise KronaError(
                f"The shape of {key} is {tuple(tensor.shape)} in {opened.path}, but {here} in this backbone."
            )
    if not placed:
        raise KronaError(f"{opened.path} contains no tensors of a {opened.peft_type} adapter.")
    return placed, saved


def _trained(names: Sequence[str], norms: set[str], opened: Folder, saved: Tensors) -> dict[str, Any]:
    modules = list(dict.fromkeys(key.rpartition(".")[0] for key in saved))
    every = bool(norms) and norms <= set(modules)
    whole = [word for word in opened.config.get("modules_to_save") or [] if word in names]
    head: dict[str, None] = {}
    for module in modules:
        if not (every and module in norms):
            head[next((w for w in whole if module == w or module.startswith(f"{w}.")), module)] = None
    return {"train_layer_norms": every, "head": list(head)}


def _check_patterns(path: Path, config: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise KronaError if a regular expression is invalid, or takes too long on the modules' names.

    A hostile expression can take hours.
    """
    for key in PATTERNS:
        found = config.get(key) or []
        if isinstance(found, list) and key != "layers_pattern":  # a list of names
            continue
        if not isinstance(found, str | list | dict):
            raise KronaError(f"In {path}, {key}={found!r} is neither a text nor a list.")
        for expression in [found] if isinstance(found, str) else found:
            where = f"In {path}, {shorten(repr(expression), 200)} of {key}"
            try:
                with _time_limit(KronaError(f"{where} takes over {LIMIT_S:g} s. Simplify this regular expression.")):
                    for name in names:
                        re.match(rf"(.*\.)?({expression})$", name)
            except (re.error, RecursionError, OverflowError) as error:
                raise KronaError(f"{where} is not a regular expression: {error}.") from error


@contextmanager
def _time_limit(error: Exception) -> Iterator[None]:
    """Raise ``error`` if the block takes over `LIMIT_S` of CPU time. Only the main thread of a program has a limit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise error

    before = signal.signal(signal.SIGVTALRM, stop)  # Python checks signals also within a match
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
