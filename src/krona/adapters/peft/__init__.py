"""Adapters in the folder format of the peft library, out and in: torch, safetensors and JSON, without peft itself."""
