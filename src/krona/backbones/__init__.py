"""Load pretrained models (backbones), share their weights between runs, and insert a tuning method into them."""
