"""Define the names of the files in a run's folder."""

import re

RESULT = "result.json"
ADAPTER = "adapter.safetensors"
PREDICTIONS = "predictions.jsonl"
METRICS = "metrics.csv"
CHECKPOINT = "last.ckpt"
DAMAGED = "last.ckpt.damaged"
LOG = "train.log"
HYDRA = ".hydra"  # the folder for Hydra's files
CLAIM = "claim.json"
STAGING = ".own-"  # the name of a staging folder is this prefix and the owner's token
TAKEOVER = ".takeover."  # and the token of the owner whose claim is taken over
CLOCK = ".now."  # a file that is created to read the time of the file system

WRITTEN = (CHECKPOINT, DAMAGED, ADAPTER, PREDICTIONS, METRICS, LOG, RESULT)
OWN = (*WRITTEN, CLAIM)
LEFT_OVER = re.compile(  # incomplete files, the temporary files of claims, and staging folders
    rf"\.({'|'.join(map(re.escape, OWN))})\..+|\.claim\..+|{re.escape(CLOCK)}.+|{re.escape(TAKEOVER)}.+|"
    rf"{re.escape(STAGING)}\w+"
)
