# %% [markdown]
# # The first hour in Python
#
# This notebook trains three methods on a sample task, compares them, and uses one of them. It runs on a CPU in about
# three minutes and downloads nothing.

# %% Train with the arguments of `python train.py`. A run that is already done is not repeated.
import krona

common = ["profile=demo", "task=sample_rte", "trainer.max_steps=100", "sweep=notebook"]
runs = [krona.train([*common, f"method={method}"]) for method in ("full", "lora", "krona")]

# %% Read all results as a pandas table. Scores are 0 to 100.
results = krona.results(sweep="notebook")
print(results[["method", "dev", "test", "parameters", "train_s"]].to_string(index=False))

# %% Plot the dev score after each epoch.
import matplotlib.pyplot as plt

figure, axes = plt.subplots()
for run in runs:
    axes.plot([row["epoch"] for row in run.dev_curve], [row["score"] for row in run.dev_curve], "o-", label=run.method)
axes.set(xlabel="epoch", ylabel="dev accuracy × 100")
axes.legend()
figure.savefig("dev.png")

# %% Predict with the adapter of the last run, and score it on labelled rows.
trained = krona.load(runs[2])
row = {"sentence1": "Tom sold a car.", "sentence2": "Tom has sold something."}
print(trained.predict(row)[0].probabilities)
print(trained.evaluate([{**row, "label": "entailment"}]).score)

# %% Export the run as a transformers model that does not need krona.
from transformers import AutoModelForSeq2SeqLM

trained.export("merged", "merged")
model = AutoModelForSeq2SeqLM.from_pretrained("merged")
print(f"{model.num_parameters():,} parameters")
