"""The commands for trained adapters: predict, evaluate, export, import and inspect."""
