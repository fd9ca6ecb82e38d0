"""Adapters in the folder format of the peft library, out and in: torch, safetensors and JSON, without peft itself."""

from krona.adapters.peft.reading import PeftImport, read_peft
from krona.adapters.peft.writing import PeftFolder, peft_content, write_peft

__all__ = ["PeftFolder", "PeftImport", "peft_content", "read_peft", "write_peft"]
