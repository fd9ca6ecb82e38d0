"""Load backbones, share their weights between jobs, and insert a tuning method into them."""
