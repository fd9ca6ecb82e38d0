"""Facts about LoRA for tests."""

from krona.methods.lora import LoRA
from methods.case import Arguments, Array, BranchCase, Case, Tensors


def update(x: Array, p: Tensors, arguments: Arguments) -> Array:
    return arguments["scaling"] * (x @ p["A"] @ p["B"])


CASE = Case(
    count=158_208, rank=1, peft_arguments={"rank": 3, "scaling": 0.7},
    branch=BranchCase(
        kind=LoRA, update=update, arguments=[{"rank": 2, "scaling": 3.0}],
        mistakes=[
            ({"rank": 65}, ["method.rank=65", "1 to 64", "64 → 768"]),
            ({"init": "pisa"}, ["method.init='pisa': did you mean 'pissa'"]),
            ({"init": "lora_ga", "rank": 33}, ["from 1 to 32", "2 · rank singular vectors"]),
            ({"init": "pissa", "scaling": 0.0}, ["method.init=pissa needs a positive method.scaling, not 0"]),
            ({"init": "eva", "init_rows": 0}, ["method.init_rows=0"]),
        ],
    ),
)  # fmt: skip
