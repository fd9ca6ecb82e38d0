"""Test the methods that put a prompt of peft in front of the text."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_backbones
from krona.adapters.export import export
from krona.adapters.find import find
from krona.adapters.peft_folder import write_peft
from krona.backbones.families.family import CACHE
from krona.backbones.peft_branch import PROMPT_TYPES
from krona.messages import KronaError
from krona.runs.result import read_result
from methods.case import Case
from methods.cases import CASES
from one_job import config as config_of
from one_job import finish, finish_after_interrupt, run, same_files
from test_contract import check_life
from test_peft_methods import thirty_losses
from tiny_models import NAMES, family_batch, family_for, output, tiny, train
from tiny_t5 import batch, check_losses, close, inserted, method_values, tiny_t5, without_dropout

peft = pytest.importorskip("peft")

METHODS = [f"peft/{name.lower()}" for name in PROMPT_TYPES]
LENGTH = 3
SMALL: dict[str, dict[str, Any]] = {
    "peft/prefix_tuning": {"encoder_hidden_size": 16},
    "peft/p_tuning": {"encoder_hidden_size": 16},
}
IN_CACHE = ("peft/prefix_tuning", "peft/cartridge")
NO_CACHE = ("deberta-v2", "distilbert", "modernbert", "mpnet")  # encoders that accept no earlier keys and values


def config(name: str) -> dict[str, Any]:
    values: dict[str, Any] = method_values(name)["config"]
    return {**values, "num_virtual_tokens": LENGTH, **SMALL.get(name, {})}


def prompt_length(name: str, kind: str) -> int:
    """Return the number of positions of the prompt in the output of peft's model."""
    return LENGTH if kind != "t5" and name not in IN_CACHE else 0


@pytest.fixture(scope="module", autouse=True)
def small_arguments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in METHODS:  # a prompt changes the output before training
            patch.setitem(CASES, name, Case(arguments={"config": config(name)}, start=1e3))
        yield


def backbone(name: str, kind: str) -> Any:
    """Return a model without dropout. T5 has three decoder layers for a prefix, because peft needs an odd number."""
    model = tiny_t5(num_decoder_layers=3) if kind == "t5" and name in IN_CACHE else tiny(kind)
    return without_dropout(model).double()


def by_peft(name: str, kind: str) -> Any:
    """Return a peft model that was built without krona."""
    model = backbone(name, kind)
    task = {"t5": "SEQ_2_SEQ_LM", "llama": "CAUSAL_LM", "bert": "FEATURE_EXTRACTION"}[kind]
    made = peft.get_peft_config({**config(name), "task_type": task})
    if kind == "t5" and name not in IN_CACHE:
        made.num_transformer_submodules = 1  # peft's default has a prompt for the decoder, which is not used
    elif kind == "t5":
        made.num_layers = 3
    torch.manual_seed(1)
    with warnings.catch_warnings(action="ignore"):
        theirs = peft.get_peft_model(model.base_model if kind == "bert" else model, made).double()
    if kind == "t5" and name in IN_CACHE:  # in peft, layer j of a decoder gets the values 2j modulo 3
        for parameter in theirs.prompt_encoder.parameters():
            for dim, size in enumerate(parameter.shape):
                if size == 3 * 2 * 64:
                    by_layer = parameter.data.unflatten(dim, (3, -1))
                    parameter.data = by_layer.index_select(dim, torch.tensor([0, 2, 1])).flatten(dim, dim + 1)
    return theirs


def states(model: Any, kind: str, *, length: int = 0) -> torch.Tensor:
    """Return the output of a model of krona or of peft, without the positions of the prompt in peft's output."""
    one = batch()
    if kind == "t5":
        return model(**one).logits
    if kind == "llama":  # peft ignores position ids, so there is no padding
        return model(input_ids=one["input_ids"], attention_mask=torch.ones_like(one["input_ids"])).logits[:, length:]
    model = model if length or not hasattr(model, "bert") else model.bert
    return model(input_ids=one["input_ids"], attention_mask=one["attention_mask"]).last_hidden_state[:, length:]


@pytest.mark.parametrize("kind", ["t5", "llama", "bert"])
@pytest.mark.parametrize("name", METHODS)
def test_thirty_steps_equal_a_plain_loop_with_peft(name: str, kind: str) -> None:
    theirs = by_peft(name, kind)
    ours = inserted(name, backbone(name, kind))
    length = prompt_length(name, kind)
    with warnings.catch_warnings(action="ignore"):
        losses = thirty_losses(theirs, lambda _: (states(theirs, kind, length=length) ** 2).mean())
    check_losses(thirty_losses(ours, lambda _: (states(ours, kind) ** 2).mean()), losses)


def possible_pairs(kinds: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of a method and an architecture on which it is possible."""
    return [(name, kind) for name in METHODS for kind in kinds if name not in IN_CACHE or kind not in NO_CACHE]


@pytest.mark.parametrize(("name", "kind"), possible_pairs(["t5", *NAMES]))
def test_the_life_of_a_prompt(name: str, kind: str, tmp_path: Path) -> None:
    assert not check_life(name, lambda: without_dropout(tiny(kind)), tmp_path / "a.safetensors")[1]


@pytest.mark.parametrize("kind", NO_CACHE)
@pytest.mark.parametrize("name", IN_CACHE)
def test_an_encoder_without_a_cache_is_one_message(name: str, kind: str) -> None:
    with pytest.raises(KronaError, match="does not accept earlier keys and values"):
        inserted(name, tiny(kind))


PADDED = ["t5", "bart", "llama", "gpt2", "bert", "roberta", "electra", "mpnet"]


@pytest.mark.parametrize(("name", "kind"), possible_pairs(PADDED))
def test_a_prediction_does_not_depend_on_the_padding(name: str, kind: str) -> None:
    model, length = inserted(name, without_dropout(tiny(kind)).double()), 7
    family, rows = family_for(model), family_batch(model, 3, length, 2)
    together = model(**family.inputs(model, rows)).logits
    short = {key: value[:1] for key, value in rows.items()}
    kept = short["attention_mask"][0].bool()
    for key in ("input_ids", "attention_mask", "token_type_ids"):
        if key in short:
            short[key] = short[key][:, kept]
    assert close(model(**family.inputs(model, short)).logits, together[:1])
    moved = [model.base_model(short["input_ids"]).last_hidden_state] if kind in ("bert", "llama") else []
    assert all(states.shape[1] == kept.sum() for states in moved)


@pytest.mark.parametrize("kind", ["t5", "bart", "llama", "gpt2", "qwen3"])
@pytest.mark.parametrize("name", METHODS)
def test_texts_and_probabilities_equal_those_of_whole_passes(name: str, kind: str) -> None:
    """Check the cached generation against passes over whole texts, which have no cache."""
    model = inserted(name, tiny(kind).double())
    rows, targets = family_batch(model, 4, 9, 3), ["3", "4 5", "6 7 8"]
    family = family_for(model)
    family.label = lambda text: [*map(int, text.split()), 1]
    family.tokenizer.decode = family.tokenizer.batch_decode = lambda ids, **_: ids.tolist()
    texts, scores = family.predict_with_scores(model, rows, targets, longest=3)
    for number, target in enumerate(targets):
        labels = torch.tensor([family.label(target)] * 4)
        logits = family.logits(model, {**rows, "labels": labels}).log_softmax(-1)
        expected = logits.gather(-1, labels[..., None])[..., 0].sum(-1)
        assert close(scores[:, number].double(), expected.double(), 1e-6)
    tokens = torch.tensor(texts)
    whole = family.logits(model, {**rows, "labels": tokens}).argmax(-1)
    ended = (tokens == 1).cumsum(1) - (tokens == 1).long() > 0
    assert torch.equal(whole.masked_fill(ended, 0), tokens.masked_fill(ended, 0))


IGNORED = r"generate\(\) of peft .* ignores the keys and values"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [(name, kind, IGNORED) for name in IN_CACHE for kind in ("t5", "llama")]
    + [("peft/prompt_tuning", "bert", "reads the state of the prompt's first position")],
)
def test_a_prompt_that_peft_would_compute_differently_is_not_exported(
    name: str, kind: str, message: str, tmp_path: Path
) -> None:
    model = inserted(name, tiny(kind))
    with pytest.raises(KronaError, match=message):
        write_peft(model, tmp_path, base_model=None)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("kind", ["t5", "llama"])
@pytest.mark.parametrize("name", [name for name in METHODS if name not in IN_CACHE])
def test_a_folder_of_peft_gives_the_same_outputs_and_texts(name: str, kind: str, tmp_path: Path) -> None:
    model = inserted(name, tiny(kind).double())
    train(model, steps=2)
    written = write_peft(model, tmp_path, base_model=None)
    assert written["peft_type"] == name.partition("/")[2].upper()
    with warnings.catch_warnings(action="ignore"):
        theirs: Any = peft.PeftModel.from_pretrained(tiny(kind).double(), str(tmp_path)).double()
        with torch.no_grad():
            # peft loads in fp32
            assert close(states(model, kind), states(theirs, kind, length=prompt_length(name, kind)), 1e-6)
        rows = {key: batch()[key][:1] for key in ("input_ids", "attention_mask")}  # without padding
        longest: dict[str, Any] = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": 99, "pad_token_id": 0}
        expected = theirs.generate(**rows, **longest)[0].tolist()[-5:]
    family = family_for(model)
    family.eos = model.config.eos_token_id = 99  # no token ends the text
    family.tokenizer.batch_decode = lambda ids, **_: ids.tolist()
    assert family.predict_with_scores(model, rows, (), longest=5)[0][0] == expected
    with torch.no_grad():
        assert model.generate(**rows, **longest)[0].tolist()[-5:] == expected


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_each_layer_of_a_decoder_has_its_own_prefix(layers: int) -> None:
    model = inserted("peft/cartridge", tiny_t5(num_decoder_layers=layers))
    output = model(**batch(), use_cache=True)
    caches = [layer.keys[0, :, :LENGTH] for layer in output[CACHE].self_attention_cache.layers]
    assert len(caches) == layers
    assert all(not torch.equal(a, b) for number, a in enumerate(caches) for b in caches[:number])
    output.logits.sum().backward()
    (trained,) = [p for n, p in model.named_parameters() if p.requires_grad and "prompts" in n]
    assert trained.grad.unflatten(1, (-1, 64)).abs().sum((0, 2)).all()  # for the keys and values of each layer


@pytest.mark.parametrize("name", METHODS)
def test_gradient_checkpointing(name: str) -> None:
    model = inserted(name, without_dropout(tiny("bert")).double()).train()
    expected = output(model)
    model.activation_checkpointing_enable({"use_reentrant": False})
    if name in IN_CACHE:
        with pytest.raises(KronaError, match="is not possible with gradient checkpointing"):
            output(model)
    else:
        assert close(output(model), expected)


def test_too_few_positions_for_the_prompt(small: list[str], tmp_path: Path) -> None:
    backbone = tiny_backbones.write(tmp_path / "bert", "bert", max_position_embeddings=100)
    words = [*small, f"backbone.path={backbone}", *SHORT["peft/prompt_tuning"], "max_source_length=97"]
    with pytest.raises(KronaError, match=r"max_source_length=97 exceeds the 100 positions of .* the prompt uses 4"):
        run(config_of(*words), tmp_path / "runs")
    with pytest.raises(KronaError, match="length=97 and 4 positions of the prompt cannot fit into the 100 positions"):
        family_for(tiny("bert")).check_length(100, source=97, answer=1, prompt=4)


SHORT = {name: [f"method={name}", "++method.config.num_virtual_tokens=4"] for name in METHODS}


@pytest.mark.parametrize("name", ["peft/prefix_tuning", "peft/prompt_tuning"])
def test_an_interrupted_run_resumes_and_loads_to_the_same_bits(name: str, small: list[str], tmp_path: Path) -> None:
    words = [*SHORT[name], *small]
    whole, _ = finish(tmp_path / "whole", *words)
    resumed, _ = finish_after_interrupt(2, tmp_path / "part", *words)
    assert same_files(resumed.folder, whole.folder)
    result = read_result(whole.folder / "result.json")
    assert {"multiply_adds", "launches"}.isdisjoint(result.provenance)
    assert result.provenance["update_rank"] is None
    assert not result.provenance["mergeable"]
    if name not in IN_CACHE:
        lines = export(find(whole.folder), to="peft", out=tmp_path / "peft")
        assert "logits" in lines[-1]
