"""Write files in SuperGLUE's own layout, with invented sentences."""

import json
from pathlib import Path
from typing import Any

FOLDERS = {"boolq": "BoolQ", "cb": "CB", "copa": "COPA", "multirc": "MultiRC", "wic": "WiC", "wsc": "WSC"}
CB_WORDS = ("entailment", "contradiction", "neutral")


def record(name: str, i: int) -> dict[str, Any]:
    """Return line i of a file. The label is the remainder of i by the number of classes."""
    odd = bool(i % 2)
    if name == "boolq":
        return {"question": f"is boat {i} red", "passage": f"Boat {i} -- It was painted.", "idx": i, "label": odd}
    if name == "cb":
        premise, hypothesis = f"Ann hopes that boat {i} floats.", f"boat {i} floats"
        return {"premise": premise, "hypothesis": hypothesis, "label": CB_WORDS[i % 3], "idx": i}
    if name == "copa":
        choices = {"choice1": f"It had hole {i}.", "choice2": f"It had flag {i}."}
        return {
            "premise": f"Boat {i} sank.",
            **choices,
            "question": ("cause", "effect")[i // 2 % 2],
            "label": i % 2,
            "idx": i,
        }
    if name == "wic":
        sentences = {"sentence1": f"Seal {i} barked.", "sentence2": f"The seal of jar {i} broke."}
        spans = {"start1": 0, "start2": 4, "end1": 4, "end2": 8, "version": 1.1}
        return {"word": "seal", **sentences, "idx": i, "label": odd, **spans}
    if name == "wsc":
        target = {"span1_index": 0, "span1_text": "Old Ann", "span2_index": 6, "span2_text": "she"}
        return {"text": f"Old Ann sold boat {i} when she, at last, moved.", "target": target, "idx": i, "label": odd}
    answers = [{"text": f"Ann<b>{j}</b>", "idx": 2 * i + j, "label": (i + j) % 2} for j in range(2 + i % 2)]
    text = f"<b>Sent 1: </b>Ann has boat {i}.<br><b>Sent 2: </b>She sails.<br>"
    questions = [{"question": f"Who has boat {i}?", "idx": i, "answers": answers}]
    questions += [{"question": f"Who sails boat {i}?", "idx": i + 100, "answers": answers[:1]}]
    return {"idx": i, "version": 1.1, "passage": {"text": text, "questions": questions}}


def without_labels(value: Any) -> Any:
    """Return a line as it is in a test file."""
    if isinstance(value, dict):
        return {key: without_labels(one) for key, one in value.items() if key != "label"}
    return [without_labels(one) for one in value] if isinstance(value, list) else value


def write(folder: Path, name: str, *, train: int = 6, validation: int = 5, test: int = 4) -> Path:
    """Write FOLDER/CB/train.jsonl, val.jsonl and, without labels, test.jsonl. Return the task's folder."""
    inner = folder / FOLDERS[name]
    inner.mkdir(parents=True)
    for file, rows in (("train", train), ("val", validation), ("test", test)):
        records = [record(name, i) for i in range(rows)]
        lines = [json.dumps(without_labels(one) if file == "test" else one) for one in records]
        (inner / f"{file}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return inner
