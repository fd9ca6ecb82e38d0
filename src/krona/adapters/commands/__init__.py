"""The commands for trained adapters: predict, evaluate, export, import, merge and inspect."""
