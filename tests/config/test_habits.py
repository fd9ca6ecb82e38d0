"""Keys that other tools taught: each is refused with krona's own, which can be typed as it stands."""

from collections.abc import Iterator

import pytest

from krona.config import check
from krona.config.compose import Composer, hydra_session
from krona.config.habits import HABITS, VALUES, instead_of
from krona.config.overrides import explained
from krona.messages import KronaError

EVERY = [*HABITS.values(), *(habit for values in VALUES.values() for habit in values.values())]


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with hydra_session():
        yield Composer()


def refusal(composer: Composer, *typed: str) -> str:
    with pytest.raises(KronaError) as caught, explained(typed):
        check.settings(composer.job(typed).config)
    return str(caught.value)


@pytest.mark.parametrize("key", HABITS)
def test_a_habit_is_refused_with_krona_s_own(key: str, composer: Composer) -> None:
    expected = f"{key} is no setting: {HABITS[key]}"
    assert refusal(composer, f"{key}=1") == expected
    if "." not in key or key.startswith(("trainer.", "optimizer.")):
        assert refusal(composer, f"++{key}=1") == expected


@pytest.mark.parametrize("instead", sorted({habit.instead for habit in EVERY if habit.instead}))
def test_what_is_suggested_can_be_typed_and_has_an_effect(instead: str, composer: Composer) -> None:
    plain = check.settings(composer.job([]).config).config
    assert check.settings(composer.job(instead.split()).config).config != plain


def test_several_habits_are_one_message(composer: Composer) -> None:
    lines = refusal(composer, "lr=1e-3", "seed=1", "epochs=3", "bs=8").splitlines()
    assert [line.split(" is no setting: krona has ")[0] for line in lines] == ["lr", "epochs", "bs"]


@pytest.mark.parametrize("value", ["16-mixed", "16", "bf16"])
def test_half_precision_of_other_names(value: str, composer: Composer) -> None:
    message = refusal(composer, f"trainer.precision={value}")
    assert message.endswith(
        "; krona has trainer.precision=bf16-mixed (as fast; no fp16, in whose narrow range T5 overflows)"
    )


@pytest.mark.parametrize("choice", [f"{group}={value}" for group, values in VALUES.items() for value in values])
def test_a_choice_of_lightnings_template(choice: str, composer: Composer) -> None:
    group, value = choice.split("=")
    assert refusal(composer, choice) == f"{choice}: no such {group}; {VALUES[group][value]}"


def test_another_wrong_value_has_no_such_advice(composer: Composer) -> None:
    assert "krona has" not in refusal(composer, "trainer.precision=double")
    assert instead_of("trainer.precision", "double") is None
