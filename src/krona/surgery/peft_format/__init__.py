"""Adapters in the folder format of the peft library, out and in: torch, safetensors and JSON, without peft itself."""

from krona.surgery.peft_format.reading import PeftImport, read_peft
from krona.surgery.peft_format.writing import PeftFolder, peft_content, write_peft

__all__ = ["PeftFolder", "PeftImport", "peft_content", "read_peft", "write_peft"]
