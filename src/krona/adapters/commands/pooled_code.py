"""Code that loads an export of a pooled encoder without krona: transformers has no class for it."""

from inspect import signature
from typing import Any

from krona.backbones.families.pooling import get_pooling

NOTE = "transformers has no class for a classifier of {} states: README.md has the code that loads it"
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
LOADING = {
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


def pooled_code(model: Any, form: str, *, base: str, columns: int) -> str:
    """Return the code for an export as ``merged`` or ``peft`` of a model that has a pooling.

    Args:
        base: the backbone's name on the Hub. columns: the texts of a row.
    """
    no_pooler = "add_pooling_layer" in signature(type(model.base_model).__init__).parameters
    parts = {
        "prefix": model.base_model_prefix,
        "labels": model.config.num_labels,
        "pooled": POOLED[str(get_pooling(model.config))],
    }
    return LOADING[form].format(
        cls=CLASS.format(**parts),
        base=base,
        no_pooler=", add_pooling_layer=False" if no_pooler else "",
        texts=", ".join('"…"' for _ in range(columns)),
    )
