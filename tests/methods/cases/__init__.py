"""Facts about the methods for tests: a line below, or NAME.py for the method NAME. The others have the defaults."""

from importlib import import_module
from pathlib import Path

from methods.case import Case

CASES: dict[str, Case] = {
    "cdka_authors": Case(disturbance=0.01),
    "dora": Case(peft_arguments={"rank": 2, "scaling": 2.0}),
    "full": Case(count=222_903_552, rank=768, peft_type=None),
    "krona_b": Case(count=158_208, rank=768, merges=False, peft_type=None),
    "krona_b_res": Case(count=158_256, rank=768, start=float("inf"), merges=False, peft_type=None),
    "layer_norm": Case(count=47_616, peft_type="LN_TUNING"),
    "lora_plus": Case(count=158_208, rank=1),
    "rslora": Case(count=72 * 8 * 1_536 + 47_616, rank=8),
    "untuned": Case(count=0),
} | {
    path.stem: import_module(f"methods.cases.{path.stem}").CASE
    for path in sorted(Path(__file__).parent.glob("*.py"))
    if path.stem != "__init__"
}


def find_case(method: str) -> Case:
    return CASES.get(method, Case())
