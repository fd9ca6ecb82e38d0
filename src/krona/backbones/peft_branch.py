"""Use any tuner of the peft package as a method (``method=peft``): peft inserts, computes and merges the update.

peft replaces a layer by a tuner layer that contains the original layer. Here, each tuner layer becomes the branch of
its layer, so that krona's own functions count, save, merge and remove it. `krona.backbones.prompts` has the types that
train a prompt, and also uses the functions of this module for the configs of peft (``method.config``).
"""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import partial
from importlib.util import find_spec
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from krona.config.validation import find_argument_problems
from krona.messages import KronaError, did_you_mean, first_line, install_command
from krona.methods.branch import Branch
from krona.paths import choice_files
from krona.surgery.layers import is_in_adapter, is_quantised, public_name, unwrap
from krona.surgery.state import remove_branches
from krona.surgery.target_modules import match_modules

if TYPE_CHECKING:
    from peft import PeftConfig
    from peft.tuners.tuners_utils import BaseTuner

quiet = partial(warnings.catch_warnings, action="ignore")  # peft's warnings are about its own models and files
NAME = "default"  # the name of the adapter inside peft's layers
EXAMPLE_STEPS = 1000  # the number of steps for a config that is only checked or counted
PROMPT_TYPES = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CARTRIDGE")  # the types of `krona.backbones.prompts`
# the arguments that seed random positions and frozen factors; peft's default is a constant
SEEDS = ("random_seed", "random_loc_seed", "projection_prng_key", "projection_seed", "proj_seed")
SET_BY_KRONA = ("target_modules", "modules_to_save", "task_type", "inference_mode", "base_model_name_or_path")


class PeftBranch(Branch):
    """The tuner layer of a peft adapter at one layer of the backbone.

    peft builds the branches of all layers together (`build_all`). ``tuner`` is peft's layer without the backbone's
    layer, which stays in the model.

    Args:
        config: ``peft_type`` and the arguments of this type's config class. An argument that is a number of steps may
            be a fraction of the run's steps instead, such as ``tinit: 0.1``.
    """

    computes_layer = True
    tuner: Any
    config: dict[str, Any]

    def __init__(self, d_in: int, d_out: int, *, config: dict[str, Any]) -> None:
        raise TypeError("PeftBranch.build_all creates the branches of a model")

    @classmethod
    def fit_to_run(
        cls, arguments: dict[str, Any], translate: Callable[[Sequence[str]], list[str]], steps: int | None
    ) -> dict[str, Any]:
        """Return the arguments with the backbone's module names, numbers of steps, and seeds.

        A fraction of the steps is a number with a decimal point for an argument that must be an integer. A seed depends
        on torch's seed. It differs from torch's seed, because tensors that are drawn with the same seed are correlated.
        """
        config: dict[str, Any] = arguments["config"]
        fields = getattr(config_classes().get(config.get("peft_type", "")), "__dataclass_fields__", {})
        fitted: dict[str, Any] = {key: (torch.initial_seed() + 1) % 2**31 for key in SEEDS if key in fields}
        for key, value in config.items():
            annotation = str(fields[key].type) if key in fields else ""
            fitted[key] = value
            if _is_names(key, value):
                fitted[key] = translate(value)
            elif isinstance(value, float) and "int" in annotation and "float" not in annotation:
                fitted[key] = round(value * max(1, EXAMPLE_STEPS if steps is None else steps))
        return {"config": fitted}

    @classmethod
    def build_all(cls, model: nn.Module, names: Sequence[str], config: Mapping[str, Any]) -> "dict[str, PeftBranch]":
        """Let peft build the tuner layers of these modules in a copy of the model, and return them as branches.

        Raises:
            KronaError: peft cannot insert the type into one of the modules, or changes the backbone's weights.
        """
        peft_config = cls.to_peft_config(model, names, config)
        copied = bare_copy(model)
        layers = {name: unwrap(model.get_submodule(name)) for name in names}
        for name in layers:
            layer = copied.get_submodule(public_name(name))
            for key, parameter in list(layer.named_parameters(recurse=False)):
                if parameter.is_meta:  # peft computes with the weights of some types
                    zeros = torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)  # almost without memory
                    setattr(layer, key, nn.Parameter(zeros, requires_grad=False))
        memory = {weight: p.data_ptr() for weight, p in copied.named_parameters()}
        tuner, warned = _insert_tuner(copied, peft_config, names)
        for name, parameter in copied.named_parameters():
            weight = name.replace(".base_layer.", ".")
            if memory.get(weight, parameter.data_ptr()) != parameter.data_ptr():  # peft has replaced the weight
                raise KronaError(
                    f"{config['peft_type']} with these arguments changes the backbone's weight {weight} before "
                    "training, but an adapter file does not contain this weight. Use other arguments."
                )
        tuner._modules.pop("model")
        branches = {
            name: cls._wrap(copied.get_submodule(public_name(name)), layer, config) for name, layer in layers.items()
        }
        first = next(iter(branches.values()))  # `krona.surgery.insert` reads the hook and the notes of this branch
        hook = PeftTrainingHook(tuner)
        first.training_hook = hook if hook.has_penalty or hook.allocates else None
        first.notes = warned
        return branches

    @classmethod
    def to_peft_config(
        cls, model: nn.Module, modules: Sequence[str], config: Mapping[str, Any], **more: Any
    ) -> "PeftConfig":
        """Return the config of peft for these modules, with names for patterns (``feedforward_modules``)."""
        names = module_names(model)

        def short(modules: Iterable[str]) -> list[str]:
            return shortest(map(public_name, modules), names)

        # short names, because some types share weights between the modules of one target name
        others = {key: short(match_modules(model, value)) for key, value in config.items() if _is_names(key, value)}
        return make_config({**config, **others}, target_modules=short(modules), **more)

    @classmethod
    def _wrap(cls, tuner: nn.Module, base: nn.Module, config: Mapping[str, Any]) -> "PeftBranch":
        branch = cls.__new__(cls)
        nn.Module.__init__(branch)
        tuner._modules.pop("base_layer")
        branch.tuner = tuner
        branch.config = dict(config)
        if hasattr(tuner, "ranknum"):  # peft makes AdaLoRA's ranks trainable when it casts a layer
            tuner.ranknum.requires_grad_(False)
        freeze_as_buffers(tuner)
        for name, value in vars(tuner).items():  # such as the random indices of SHiRA
            if isinstance(value, dict) and isinstance(value.get(NAME), Tensor):
                branch.register_buffer(name, value[NAME])
        branch.bind_tuner(base)
        return branch.to("meta") if any(p.is_meta for p in base.parameters()) else branch

    def bind_tuner(self, base: nn.Module) -> Any:
        """Return peft's layer, which computes the output of ``base`` with the update."""
        tuner = self.tuner
        if tuner.__dict__.get("base_layer") is not base:
            tuner.__dict__["base_layer"] = base  # not a submodule, because the layer belongs to the model
        return tuner

    def copy_into(self, layer: nn.Module) -> None:
        """Copy the tensors into a tuner layer of the same type and size."""
        with torch.no_grad():
            layer.load_state_dict(self.tuner.state_dict(), strict=False)
            for name, buffer in self._buffers.items():
                getattr(layer, name)[NAME].copy_(buffer)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "PeftBranch":
        """Move or cast the branch and its layer, which belongs to this branch alone if the branch is a copy."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in self._buffers.items():
            getattr(self.tuner, name)[NAME] = buffer
        base = self.tuner.__dict__.get("base_layer")
        if base is not None and not is_quantised(base):
            base._apply(fn)
        return self

    def beside(self, layer: nn.Module, x: Tensor) -> Tensor:
        output: Tensor = self.bind_tuner(layer)(x)
        return output

    def forward(self, x: Tensor) -> Tensor:
        update: Tensor = self.tuner(x) - self.tuner.base_layer(x)
        return update

    def merged(self, base: nn.Module) -> nn.Module:
        """Return a copy of the layer ``base`` with the update merged into its weights.

        Raises:
            KronaError: peft cannot merge this type.
        """
        base_layer = self.tuner.__dict__["base_layer"]
        branch: PeftBranch = copy.deepcopy(self, {id(base_layer): base_layer})
        layer = branch.bind_tuner(copy.deepcopy(base))
        branch.to(next(base.parameters()).dtype)
        try:
            with torch.no_grad(), quiet():
                layer.merge()
        except Exception as error:  # peft raises many different exception types
            raise KronaError(f"peft cannot merge {self.config['peft_type']}: {first_line(error)}") from error
        result: nn.Module = layer.get_base_layer()
        return result


def _insert_tuner(model: nn.Module, peft_config: "PeftConfig", names: Sequence[str]) -> "tuple[BaseTuner, list[str]]":
    """Let peft replace the modules ``names`` by its tuner layers. Return peft's tuner, and its warnings as notes.

    Raises:
        KronaError: peft raises an error, or leaves one of the modules as it is.
    """
    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
    from peft.tuners.tuners_utils import BaseTunerLayer

    kind = PeftType(peft_config.peft_type)
    try:
        with (
            warnings.catch_warnings(record=True, action="always") as caught,
            redirect_stderr(StringIO()),
        ):  # progress bars
            tuner = PEFT_TYPE_TO_TUNER_MAPPING[kind](model, peft_config, NAME)
    except Exception as error:  # peft raises many different exception types
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise KronaError(f"peft cannot insert {kind.value} into this backbone. {reason}") from error
    for name in names:
        if not isinstance(model.get_submodule(public_name(name)), BaseTunerLayer):
            raise KronaError(f"peft does not insert {kind.value} into {name}. Use other target_modules.")
    # for example, about a block size that peft has changed
    messages = [warning.message for warning in caught if isinstance(warning.message, Warning)]
    return tuner, list(dict.fromkeys(f"peft: {first_line(message)}" for message in messages))


def _is_names(key: str, value: object) -> bool:
    """Return whether a value of a peft config contains names of modules."""
    return key.endswith("_modules") and isinstance(value, list)


class PeftTrainingHook:
    """Add a type's term to the loss, and let the type allocate ranks after each step (AdaLoRA)."""

    def __init__(self, tuner: "BaseTuner") -> None:
        from peft.tuners.tuners_utils import BaseTuner

        self.tuner = tuner
        self.has_penalty = type(tuner).forward is not BaseTuner.forward
        self.allocates = hasattr(tuner, "update_and_allocate")

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Return the type's term of the loss, or None."""
        if not self.has_penalty:
            return None
        first = next(p for p in model.parameters() if p.requires_grad)
        zero = torch.zeros((), device=first.device, dtype=torch.promote_types(first.dtype, torch.float32))
        # peft adds the term to the loss in the model's output
        output = SimpleNamespace(loss=zero)
        with self._model(SimpleNamespace(forward=lambda: output, named_parameters=model.named_parameters)):
            self.tuner.forward()
        penalty: Tensor = output.loss
        return penalty

    def after_step(self, model: nn.Module, step: int) -> None:
        """Let peft allocate ranks after the optimizer's step number ``step``, counted from 0."""
        if self.allocates:
            with self._model(model):
                self.tuner.update_and_allocate(step)

    @contextmanager
    def _model(self, model: object) -> Iterator[None]:
        self.tuner.__dict__["model"] = model  # only during a call, because the model refers to this object
        try:
            yield
        finally:
            del self.tuner.__dict__["model"]

    def state_dict(self) -> dict[str, Any]:
        """Return the values that the next steps depend on, such as the importance of each rank."""
        return {
            name: {k: v for k, v in vars(value).items() if _is_plain(v)}
            for name, value in self._stateful_objects().items()
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        for name, value in self._stateful_objects().items():
            vars(value).update(state[name])

    def _stateful_objects(self) -> dict[str, Any]:
        """Return the tuner's config, and peft's objects in the tuner, such as the allocator of ranks."""
        inner = {k: v for k, v in vars(self.tuner).items() if type(v).__module__.startswith("peft.tuners")}
        return {"config": self.tuner.peft_config[NAME], **inner}


def _is_plain(value: object) -> bool:
    """Return whether a checkpoint can contain the value."""
    if isinstance(value, dict | list):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or type(value) in (bool, int, float, str, Tensor)


def bare_copy(model: nn.Module) -> nn.Module:
    """Return a copy of the model without branches. The copy and the model share the memory of the weights."""
    from krona.backbones.load import with_own_modules  # imports transformers, which most commands do not need

    copied = with_own_modules(model)
    if "krona" in copied.__dict__:
        remove_branches(copied)
    return copied


def freeze_as_buffers(tuner: nn.Module) -> None:
    """Replace the frozen parameters of a tuner by buffers, such as ``ranknum`` of AdaLoRA."""
    for module in tuner.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and not parameter.requires_grad:
                del module._parameters[name]
                module.register_buffer(name, parameter.detach())


def require_peft() -> None:
    """Check that the peft package is installed.

    Raises:
        KronaError: the package was not found.
    """
    if find_spec("peft") is None:
        raise KronaError(f"The peft package is not installed. Install it with: {install_command('peft')}")


def config_classes() -> "dict[str, type[PeftConfig]]":
    """Return peft's config classes by the name of their type. Raises the error of `require_peft`."""
    require_peft()
    with quiet():
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return {kind.value: cls for kind, cls in PEFT_TYPE_TO_CONFIG_MAPPING.items()}


def make_config(arguments: Mapping[str, Any], *, is_prompt: bool = False, **more: Any) -> "PeftConfig":
    """Return a config of peft.

    Args:
        arguments: ``peft_type`` and the arguments of the type's config class.
        is_prompt: whether the branch class is that of prompts.
        more: arguments from krona.

    Raises:
        KronaError: peft is not installed, the type is unknown or not possible, or an argument is wrong.
    """
    kinds = config_classes()
    name, others = arguments.get("peft_type"), {key: value for key, value in arguments.items() if key != "peft_type"}
    if name not in kinds:
        raise KronaError(f"method.config.peft_type={name!r} is not a type of peft: {did_you_mean(str(name), kinds)}")
    has_method = f"peft/{name.lower()}" in choice_files("method")
    if not has_method or (name in PROMPT_TYPES) != is_prompt:
        reason = f"Use method=peft/{name.lower()}." if has_method else "krona does not support this type."
        raise KronaError(f"method.config.peft_type={name} is not possible. {reason}")
    if given := [key for key in SET_BY_KRONA if key in others]:
        raise KronaError(f"krona sets method.config.{given[0]} itself. Use method.target_modules, or remove the key.")
    without = (*SET_BY_KRONA, "peft_type")
    if problems := find_argument_problems(kinds[name], "method.config.", others, without=without):
        raise KronaError("\n".join(problems))
    try:
        with quiet():
            return kinds[name](**others, **more)
    except (TypeError, ValueError) as error:
        raise KronaError(f"method.config is not possible for {name}: {first_line(error)}") from error


def module_names(model: nn.Module) -> list[str]:
    """Return the public names of all modules of the backbone."""
    names = (name for name, _ in model.named_modules(remove_duplicate=False) if not is_in_adapter(f"{name}."))
    return list(dict.fromkeys(map(public_name, names)))


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
