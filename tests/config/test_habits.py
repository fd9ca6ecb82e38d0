"""Keys and choices of other tools: each is refused with krona's own, which can be typed as it stands."""

from collections.abc import Iterator

import pytest

from krona.config import check
from krona.config.compose import Composer, hydra_session
from krona.config.habits import habit_for, habits
from krona.config.overrides import explained
from krona.messages import KronaError


@pytest.fixture(scope="module")
def composer() -> Iterator[Composer]:
    with hydra_session():
        yield Composer()


def refusal(composer: Composer, *typed: str) -> str:
    with pytest.raises(KronaError) as caught, explained(typed):
        check.settings(composer.job(typed).config)
    return str(caught.value)


@pytest.mark.parametrize("key", habits())
def test_a_habit_is_refused_with_krona_s_own(key: str, composer: Composer) -> None:
    typed = key if "=" in key else f"{key}=1"
    message = refusal(composer, typed)
    assert key.partition("=")[0] in message
    assert message.endswith(f". Instead: {habits()[key]}")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("instead", sorted({*habits().values()}))
def test_what_is_suggested_can_be_typed_and_has_an_effect(instead: str, composer: Composer) -> None:
    typed = instead.partition(" (")[0].split()
    if all("=" in item for item in typed):  # else it is a sentence
        plain = check.settings(composer.job([]).config).config
        assert check.settings(composer.job(typed).config).config != plain


def test_several_habits_are_one_message(composer: Composer) -> None:
    lines = refusal(composer, "lr=1e-3", "seed=1", "epochs=3", "bs=8").splitlines()
    assert [line.split(". Instead: ")[0] for line in lines] == [f"Unknown key {key}" for key in ("lr", "epochs", "bs")]


def test_another_wrong_value_has_no_such_advice(composer: Composer) -> None:
    assert "Instead" not in refusal(composer, "trainer.precision=double")
    assert habit_for("trainer.precision=double") == ""
