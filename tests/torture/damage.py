"""Damage files with Hypothesis: bytes are cut, flipped and inserted, and values of JSON are replaced and removed."""

import copy
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import pytest
from hydra.errors import HydraException
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf.errors import OmegaConfBaseException

from krona.cli.krona import main
from krona.config.hydra_interface import explain
from krona.messages import KronaError

SRC = f"src{os.sep}krona"
ODD = [
    *(None, True, -1, 0, 1e308, 2**70, 10**400, "9" * 400, "", "x", "\x00", "../../x", "é\ud800", "\x1b]0;owned\x07"),
    *([], {}, [[]], {"": 0}, "[red]", "a" * 300),
]
MOST_LINES = 12  # lines of a clear message
UNCLEAR = ("Traceback", "HYDRA_FULL_ERROR", "full_key:", "object_type=")  # words of Python and Hydra

values = st.sampled_from(ODD).map(copy.deepcopy) | st.integers() | st.floats() | st.text(max_size=8)
NO_LABEL = re.compile(r"^note: \S+ predicted texts that are not labels \([\d,]+ rows?\)\.$")


def find_places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a JSON value."""
    if at:
        yield at
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield from find_places(value, (*at, key))


@st.composite
def damaged_json(draw: st.DrawFn, content: Any) -> str:
    """Draw JSON with up to three values that are replaced, removed or added. Sometimes the text is damaged too."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from([*find_places(content)] or [("x",)]))
        place = content
        for key in above:
            place = place[key]
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "remove" if last in place or isinstance(place, list):
                del place[last]
            case "add" if isinstance(place, dict):
                place[draw(st.text(max_size=6))] = draw(values)
            case _ if isinstance(place, list) or last in place:
                place[last] = draw(values)
    text = json.dumps(content)
    return text if draw(st.integers(0, 4)) else draw(damaged(text.encode())).decode("utf-8", "replace")


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw content in which bytes are cut, flipped, inserted, doubled or replaced."""
    where = draw(st.integers(0, max(0, len(content) - 1)) | st.integers(0, min(200, max(0, len(content) - 1))))
    match draw(st.sampled_from(["cut", "flip", "insert", "zero", "double", "other"])):
        case "cut":
            return content[:where]
        case "flip":
            return content[:where] + bytes([content[where] ^ draw(st.integers(1, 255))]) + content[where + 1 :]
        case "insert":
            return content[:where] + draw(st.binary(min_size=1, max_size=16)) + content[where:]
        case "zero":
            return content[:where] + bytes(min(64, len(content) - where)) + content[where + 64 :]
        case "double":
            return content + content[where:]
    return draw(st.binary(max_size=64))


def judge(do: Callable[[], Any], expected: Any = None, names: str = "") -> str | None:
    """Return how a call breaks the rule, or None: it returns the expected value, or raises one clear message.

    Args:
        names: a text that the message must contain, such as the name of the damaged file.
    """
    try:
        value = do()
    except (KronaError, HydraException, OmegaConfBaseException) as error:
        text = str(error) if isinstance(error, KronaError) else explain(error)
        clear = text.strip() and len(text.splitlines()) <= MOST_LINES and not any(word in text for word in UNCLEAR)
        return None if clear and names in text else f"{type(error).__name__} without a clear message: {text!a}"
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if SRC in frame.filename]
        where = f"{frames[-1].filename.split(SRC)[-1].lstrip(os.sep)}:{frames[-1].lineno}" if frames else "outside"
        return f"{type(error).__name__} at {where}: {str(error)[:80]!a}"
    return None if value == expected else f"another value: {value!a} for {expected!a}"


def run_command(words: list[str]) -> str:
    """Run a `krona` command in this process and return its output. Raise `KronaError` with its message if it fails."""
    output, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code: Any = None
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setattr(sys, "argv", ["krona", *words])
        try:
            main()
        except SystemExit as stop:
            code = stop.code
    found, problem = (stream.buffer.getvalue().decode("utf-8", "replace") for stream in (output, errors))
    if code in (0, None):
        if words[0] == "predict":
            problem = NO_LABEL.sub("", " ".join(problem.split()))
        assert (bool(found), problem) == (True, ""), (found[:200], problem)
        return found
    assert code in (1, 2), code
    raise KronaError(problem)


def try_each(strategy: st.SearchStrategy[Any], count: int, losses: Any, try_one: Callable[[Any], str | None]) -> None:
    """Draw ``count`` examples, which are the same each time, and add the failures to ``losses``."""

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )  # fmt: skip
    @given(strategy)
    def draw(one: Any) -> None:
        losses.add(try_one(one), ascii(one))

    draw()
