"""Files in outputs/: results, predictions, claims, sweeps and studies, without torch and Hydra."""
