"""Find the names with which a peft config selects modules."""

from collections.abc import Callable, Iterable, Sequence

from torch import nn

from krona.messages import KronaError
from krona.surgery.wrapper import is_in_adapter, public_name


def module_names(model: nn.Module) -> list[str]:
    """Return the public names of all modules of the backbone."""
    names = (name for name, _ in model.named_modules(remove_duplicate=False) if not is_in_adapter(f"{name}."))
    return list(dict.fromkeys(map(public_name, names)))


def outermost(module: str, parts: Iterable[str]) -> str:
    """Return the first part of the model that contains a module, or the module itself."""
    return next((part for part in parts if module == part or module.startswith(f"{part}.")), module)


def is_target(name: str, word: str) -> bool:
    """Return whether a module's dotted name ends with an entry of ``target_modules``."""
    return name == word or name.endswith(f".{word}")


def shortest(wanted: Iterable[str], names: Sequence[str], matches: Callable[[str, str], bool] = is_target) -> list[str]:
    """Return the names with which peft selects exactly the wanted modules.

    Each returned name is the last part of a module's name or, if this part also matches other modules, the whole name.

    Raises:
        KronaError: the whole name of a wanted module also matches a module that is not wanted.
    """
    wanted = list(wanted)
    by_last_part: dict[str, list[str]] = {}
    for name in wanted:
        by_last_part.setdefault(name.rpartition(".")[2], []).append(name)
    short: list[str] = []
    for last_part, full_names in by_last_part.items():
        if {name for name in names if matches(name, last_part)} == set(full_names):
            short.append(last_part)
            continue
        for name in full_names:
            other = next((n for n in names if n != name and matches(n, name)), None)
            if other is not None and other not in wanted:
                raise KronaError(
                    f"peft would also adapt {other}, because its name ends with {name}. Keep krona's file."
                )
        short += full_names
    return short
