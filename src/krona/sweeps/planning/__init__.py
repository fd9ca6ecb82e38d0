"""What a table will take on a card, before it runs: hours, memory, disk, money, from runs already made."""
