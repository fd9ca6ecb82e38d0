"""Test that errors for keys and choices of other tools contain krona's own key, which can be typed unchanged."""

import pytest

from krona.config.suggestions import foreign_key_hint, foreign_key_hints, replace_key
from typed_config import compose, refusal, settings

OTHERS = ("krona ", "krona.", "Trained.", "--")  # commands, names in Python, and options
KEYS = list({instead: key for key, instead in foreign_key_hints().items() if not key.startswith(OTHERS)}.values())


@pytest.mark.parametrize("key", KEYS)
def test_a_habit_is_refused_with_its_replacement(key: str) -> None:
    key = key.replace(".*", ".something").replace("[…]", "[0,1]")
    message = refusal(key if "=" in key else f"{key}=1")
    name, _, value = key.partition("=")
    assert name in message
    typed = [0, 1] if value == "[0,1]" else value or 1
    advice = foreign_key_hint(name, typed) or replace_key(name, typed)
    assert advice
    assert message.endswith(str(advice))
    assert len(message.splitlines()) == 1


EXAMPLES = {
    "backbone": "t5_small", "method": "lora", "task": "sst2", "logger": "wandb", "sweep": "mine", "overwrite": "true",
    "logger.wandb.project": "mine", "logger.wandb.tags": "[a]", "trainer.accelerator": "cpu", "data.path": "FOLDER",
    "method.target_modules": "[q]", "trainer.compile": "true", "trainer.gradient_checkpointing": "true",
    "trainer.bucket_by_length": "true", "backbone.tokenizer": "FOLDER", "method.rank_stabilised": "true",
    "method.dropout": "0.1", "logger.wandb.entity": "mine", "logger.wandb.name": "mine",
    "trainer.deterministic": "true", "trainer.enable_progress_bar": "false",
}  # fmt: skip


@pytest.mark.parametrize(
    "instead", sorted({hint.text for key in KEYS if not (hint := foreign_key_hints()[key]).is_sentence})
)
def test_a_replacement_can_be_typed_and_has_an_effect(instead: str) -> None:
    key = instead.partition("={}")[0].split()[-1]
    value = EXAMPLES.get(key, "2")
    arguments = instead.partition(" (")[0].replace("{}", value).split()
    slow = (
        "pytorch_lightning" in instead or "scheduler" in key or key.startswith("callbacks")
    )  # imports; tests/training/test_lightning.py has both
    if all("=" in item for item in arguments) and not slow:  # otherwise the suggestion is not an override
        of_lora = key in ("method.rank", "method.alpha", "method.rank_stabilised") and "method=lora" not in arguments
        arguments += ["method=lora"] if of_lora else []
        is_default = instead.startswith(("optimizer.weight_decay=0.01", "trainer.precision=32-true"))
        assert is_default or settings(*arguments).config != compose().config


@pytest.mark.parametrize(
    ("argument", "instead"),
    [
        ("lr=5e-4", "optimizer.lr=5e-4"),
        ("gpus=2", "trainer.devices=2"),
        ("model=t5-base", "backbone=t5_base"),
        ("model_name_or_path=google-t5/t5-base", "backbone=t5_base"),
        ("model=google/mt5-small", "backbone=hub backbone.name=google/mt5-small"),
        ("method.lora_alpha=16", "method.alpha=16"),
        ("tags=[a,b]", "logger=wandb logger.wandb.tags=[a,b]"),
        ("backbone=sentence-transformers/all-MiniLM-L6-v2", "backbone=minilm_l6"),
        ("task=sst-2", "task=sst2"),
        ("method.target_modules=q,v", "method.target_modules=[q,v]"),
        ("--lr=3e-4", "optimizer.lr=3e-4"),
        ("lr=1e-3,1e-2", "Instead: optimizer.lr=1e-3,1e-2"),
        ("datamodule=glue", "Instead: -m task=cola,"),
        ("peft=prefix", "Instead: method=peft/prefix_tuning"),
        ("method=LoHa", "Instead: method=peft/loha"),
        ("peft_type=ADALORA", "Instead: method=peft/adalora"),
        ("trainer.lr=1e-3", "Instead: optimizer.lr=1e-3"),
        ("data.max_train_samples=100", "Instead: data.train_rows=100"),
        ("wandb=false", "Leave it out"),
        ("method.name=dora", "To choose the method, write method=dora"),
        ("scheduler.name=cosine", "Instead: scheduler=cosine"),
        ("target_modules=all-linear", "Instead: method.target_modules=[q,k,v,o,wi*,wo]"),
        ("hydra.sweeper.n_trials=5", "Instead: krona tune --trials 5"),
        ("nothing.of_krona=1", "Unknown key nothing: choose from backbone, batch_size"),
        ("logger.wandb.tags=[a]", "add logger=wandb"),
    ],
)
def test_a_replacement_repeats_the_value(argument: str, instead: str) -> None:
    assert instead in refusal("method=lora", argument)


def test_another_wrong_value_has_no_such_advice() -> None:
    assert "Instead" not in refusal("trainer.precision=double")
    assert foreign_key_hint("trainer.precision", "double") is None


def test_all_options_of_another_tool_are_translated_at_once() -> None:
    flags = ["--task_name", "rte", "--learning_rate", "1e-3", "--overwrite_output_dir"]
    message = refusal("fit", *flags, "lr=1e-3", "seed=1", "epochs=3")
    assert message.splitlines() == [
        "--task_name is not an option. Instead: task=rte",
        "--learning_rate is not an option. Instead: optimizer.lr=1e-3",
        "--overwrite_output_dir is not an option. Instead: overwrite=true",
        f"fit is not KEY=VALUE{foreign_key_hint('fit')}",
        "Unknown key lr. Instead: optimizer.lr=1e-3",
        "Unknown key epochs. Instead: trainer.max_epochs=3",
    ]
