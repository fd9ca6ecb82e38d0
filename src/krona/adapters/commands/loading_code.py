"""Generate the Python code of a model card. The code loads the exported model or adapter and predicts for a row."""

import json
from inspect import signature
from typing import Any

from krona.adapters.origin import Origin
from krona.backbones.families.pooling import get_pooling, has_pooled_head

NO_HUB_NAME = "BACKBONE_FOLDER"  # a placeholder in the code for a backbone that is not on the Hub
POOLING_NOTE = (
    "transformers has no class for a classifier with the pooling {}; README.md contains the code that loads it"
)
LOADING = {
    "merged": """from transformers import {auto}, AutoTokenizer

model = {auto}.from_pretrained("FOLDER").eval()
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
{use}""",
    "peft": """from peft import PeftModel
from transformers import {auto}, AutoTokenizer

backbone = {auto}.from_pretrained("{base}"{labels})
model = PeftModel.from_pretrained(backbone, "FOLDER").eval()
tokenizer = AutoTokenizer.from_pretrained("{base}")
{use}""",
    "adapter": """import krona

trained = krona.load("FOLDER/adapter.safetensors")
trained.predict([{row}])""",
}
USE = {  # the code by a part of the Auto class's name
    "Classification": """print(model(**tokenizer({texts}, return_tensors="pt")).logits)""",
    "Seq2Seq": """ids = model.generate(**tokenizer("{text}", return_tensors="pt"), max_new_tokens=8, do_sample=False)
print(tokenizer.decode(ids[0], skip_special_tokens=True))""",
    "Causal": """inputs = tokenizer("{text} label:", return_tensors="pt")
ids = model.generate(**inputs, max_new_tokens=8, do_sample=False)
print(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))""",
}
POOLED = {
    "first": "states[:, 0]",
    "mean": "(states * attention_mask.unsqueeze(-1)).sum(1) / attention_mask.sum(1, keepdim=True)",
}
CLASS = """class Classifier(torch.nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.{prefix} = encoder
        self.classifier = torch.nn.Linear(encoder.config.hidden_size, {labels})

    def forward(self, attention_mask, **inputs):
        states = self.{prefix}(attention_mask=attention_mask, **inputs).last_hidden_state
        return self.classifier({pooled})


"""
POOLED_LOADING = {
    "merged": """import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoTokenizer


{cls}model = Classifier(AutoModel.from_config(AutoConfig.from_pretrained("FOLDER"){no_pooler})).eval()
model.load_state_dict(load_file("FOLDER/model.safetensors"))
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
print(model(**tokenizer({texts}, return_tensors="pt")))""",
    "peft": """import torch
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer


{cls}backbone = Classifier(AutoModel.from_pretrained("{base}"{no_pooler}))
model = PeftModel.from_pretrained(backbone, "FOLDER").eval()
tokenizer = AutoTokenizer.from_pretrained("{base}")
print(model(**tokenizer({texts}, return_tensors="pt")))""",
}


def hub_name(origin: Origin) -> str | None:
    """Return the backbone's name on the Hub, or None if it is not on the Hub."""
    name = str(origin.backbone["name"])
    return name if "/" in name else None


def needs_class(model: Any, form: str) -> bool:
    """Return whether transformers has no class for the exported model. This is the case for krona's own poolings."""
    return has_pooled_head(model.config) and form in POOLED_LOADING


def loading_code(origin: Origin, form: str, *, auto: str, model: Any) -> str:
    """Return the code that loads an exported model or adapter and predicts for a row.

    Args:
        form: the form of the export (``merged``, ``peft`` or ``adapter``).
        auto: the name of the Auto class of transformers for the backbone.
        model: the model that is exported.
    """
    columns = origin.task_settings.columns
    values = {"base": hub_name(origin) or NO_HUB_NAME, "texts": ", ".join('"…"' for _ in columns)}
    if needs_class(model, form):
        no_pooler = "add_pooling_layer" in signature(type(model.base_model).__init__).parameters
        cls = CLASS.format(
            prefix=model.base_model_prefix,
            labels=model.config.num_labels,
            pooled=POOLED[str(get_pooling(model.config))],
        )
        values |= {"cls": cls, "no_pooler": ", add_pooling_layer=False" if no_pooler else ""}
        return POOLED_LOADING[form].format(**values)
    row = dict.fromkeys(columns, "…")
    labels = f", num_labels={len(origin.task_settings.labels or '1')}" if "Classification" in auto else ""
    (use,) = (code for part, code in USE.items() if part in auto)
    values |= {"use": use.format(text=origin.source_text(row), **values), "labels": labels, "auto": auto}
    return LOADING[form].format(row=json.dumps(row, ensure_ascii=False), **values)
