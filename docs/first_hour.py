# %% [markdown]
# # The first hour in Python
#
# This notebook composes a configuration, trains three methods on a sample task, and uses the result. It runs on a CPU
# in about two minutes and downloads nothing.

# %% Compose one configuration for each method, with the arguments of the command line.
from krona.config.compose import compose_job, hydra_session

settings = ["profile=demo", "task=sample_rte", "trainer.max_steps=100", "sweep=notebook"]
with hydra_session():
    configs = [compose_job([*settings, f"method={method}"]).config for method in ("full", "lora", "krona")]
print(configs[2]["method"]["kron_factors"], configs[2]["optimizer"]["lr"])

# %% Train them. A run that is already done is not repeated.
from rich.console import Console

from krona.training.job import JobSpec
from krona.training.library_warnings import quiet_libraries
from krona.training.run_job import run_job
from krona.paths import OUTPUTS

quiet_libraries()
jobs = [run_job(JobSpec(config=config, outputs=OUTPUTS), Console()) for config in configs]

# %% Read all results as a table. Scores are 0 to 100.
import krona

results = krona.read_results(OUTPUTS)
results = results[results["sweep"] == "notebook"]
print(results[["method", "dev", "test", "parameters", "effective_rank", "train_s"]].to_string(index=False))

# %% Plot the dev score after each epoch.
import matplotlib.pyplot as plt

figure, axes = plt.subplots()
for job in jobs:
    curve = job.result.dev_curve
    axes.plot([row["epoch"] for row in curve], [row["score"] for row in curve], marker="o", label=job.result.method)
axes.set(xlabel="epoch", ylabel="dev accuracy × 100")
axes.legend()
figure.savefig("dev.png")

# %% Predict with the adapter of the last run.
trained = krona.load(jobs[2].folder)
rows = [{"sentence1": "Tom sold a car.", "sentence2": "Tom has sold something."}]
print(trained.predict(rows)[0].probabilities)

# %% Export the run as a plain transformers model, which needs krona no longer.
from pathlib import Path

from transformers import AutoModelForSeq2SeqLM

from krona.adapters.commands.export import export
from krona.adapters.find import find

export(find(jobs[2].folder), to="merged", out=Path("merged"), overwrite=True)
model = AutoModelForSeq2SeqLM.from_pretrained("merged")
print(f"{model.num_parameters():,} parameters")
