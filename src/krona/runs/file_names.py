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
TAKEOVER = ".takeover."  # and the token of the owner whose claim is taken over
CLOCK = ".now."  # a file that is created to read the time of the file system

WRITTEN = (CHECKPOINT, DAMAGED, ADAPTER, PREDICTIONS, METRICS, LOG, RESULT)
OWN = (*WRITTEN, CLAIM)
PART = re.compile(rf"\.({'|'.join(map(re.escape, WRITTEN))})\..+")  # an incomplete file
OF_CLAIM = re.compile(rf"({re.escape(CLOCK)}|{re.escape(TAKEOVER)}|\.{re.escape(CLAIM)}\.).+")  # temporary files
