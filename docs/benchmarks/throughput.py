"""Images per second of the engine, in training and in predicting, and peak memory.

    python docs/benchmarks/throughput.py
    python docs/benchmarks/throughput.py --device cuda --images 50000
    python docs/benchmarks/throughput.py --summary

The shapes and the numbers of sprites are those for which the papers' official code was
timed (2 cores of a CPU, float32, every transformation on, batches of 128); ratios are
to those figures. Time does not depend on what images show, so they are random. In
training all that happens in an epoch counts, with the steps' share of reassignment;
the first epoch does not. Every configuration runs in a process of its own; one line of
JSON for each is appended to `--output`, and `--summary` prints the table.
"""

import argparse
import json
import os
import platform
import resource
import sys
import time
from pathlib import Path

import numpy as np
from apart import run_apart

AUTO = ("color", "affine", "thin_plate_spline")  # and thickness, of opaque sprites
MNIST = {"n_sprites": 10, "n_backgrounds": 0, "channels": 1}
GTSRB = {"n_sprites": 8, "n_backgrounds": 1, "channels": 3}
SIGNS = ("color", "projective", "thin_plate_spline")
CONFIGURATIONS = {
    "mnist": {
        **MNIST,
        "transformations": ("affine", "morphological", "thin_plate_spline"),
    },
    "mnist, default": {**MNIST, "transformations": (*AUTO, "thickness")},
    "gtsrb8": {
        **GTSRB,
        "transformations": SIGNS,
        "background_transformations": SIGNS,
    },
    "gtsrb8, default": {
        **GTSRB,
        "transformations": AUTO,
        "background_transformations": AUTO,
    },
}
SIDE, BATCH_SIZE = 28, 128
MEASURES = {
    "training": "training, images/s",
    "predicting": "predicting, images/s",
    "peak_mb": "peak memory, MB",
}
DTI_CLUSTERING = {"training": 180.0, "predicting": 660.0}
DTI_SPRITES = {"training": 256.0, "peak_mb": 1160.0}
OFFICIAL = {
    "mnist": DTI_CLUSTERING,
    "mnist, default": DTI_CLUSTERING,
    "gtsrb8": DTI_SPRITES,
    "gtsrb8, default": DTI_SPRITES,
}


def measure(name: str, args: argparse.Namespace) -> dict:
    """One configuration, in this process."""
    from sklearn_sprites._engine.runtime import resolve_device
    from sklearn_sprites._engine.spec import ModelSpec

    device = resolve_device(args.device)
    shape = {"height": SIDE, "width": SIDE, "encoder": args.encoder}
    spec = ModelSpec(**CONFIGURATIONS[name], **shape)
    rng = np.random.default_rng(0)
    images = rng.random((args.images, spec.channels, SIDE, SIDE), dtype=np.float32)
    training, fitted = train(images, spec, args.epochs, device)
    return {
        "configuration": name,
        "encoder": args.encoder,
        "device": device,
        "training": training,
        "predicting": predict(images, fitted, device),
        "peak_mb": peak_memory(device),
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())),
        "machine": platform.machine(),
    }


def train(images, spec, epochs: int, device: str) -> tuple:
    """Images per second with all transformations on, and the model."""
    from sklearn_sprites._engine.settings import TrainingSettings
    from sklearn_sprites._engine.training.fit import fit_clustering
    from sklearn_sprites._engine.training.loop import MIN_STEPS

    settings = TrainingSettings(
        init="sample",
        curriculum="all_at_once",
        max_epochs=epochs,
        tol=0,
        batch_size=BATCH_SIZE,
    )
    ends: list[float] = []

    def on_epoch(info: object) -> bool:
        ends.append(time.perf_counter())
        return False

    seed = np.random.SeedSequence(0)
    fitted = fit_clustering(images, spec, settings, seed, device, on_epoch=on_epoch)
    batch_size = min(BATCH_SIZE, len(images))
    per_epoch = max(len(images) // batch_size, MIN_STEPS) * batch_size
    return per_epoch * (len(ends) - 1) / (ends[-1] - ends[0]), fitted


def predict(images, fitted, device: str) -> float:
    """Images per second under all sprites."""
    from sklearn_sprites._engine.inference import Predictor

    predictor = Predictor(fitted, device)
    predictor.assign(images[:256])
    began = time.perf_counter()
    predictor.assign(images)
    return len(images) / (time.perf_counter() - began)


def peak_memory(device: str) -> float:
    """Of the process in MB; on a GPU, of what torch allocated there."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def run_all(args: argparse.Namespace) -> None:
    """Configurations in processes of their own, one after the other."""
    for name in CONFIGURATIONS:
        arguments = ["--one", name]
        for option in ("device", "encoder", "images", "epochs"):
            arguments += [f"--{option}", str(getattr(args, option))]
        run_apart(arguments, args.output)


def latest(path: Path) -> list[dict]:
    """The last row of each configuration."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return list({row["configuration"]: row for row in rows}.values())


def table(rows: list[dict]) -> str:
    """Markdown: ours, the official code's figure, and how many times better we are."""
    lines = ["| configuration | measure | ours | official | ratio |", "|---" * 5 + "|"]
    for row in rows:
        known = OFFICIAL[row["configuration"]]
        for measure, title in MEASURES.items():
            ours, theirs = row[measure], known.get(measure)
            cells = [row["configuration"], title, f"{ours:.0f}", "", ""]
            if theirs is not None:
                ratio = theirs / ours if measure == "peak_mb" else ours / theirs
                cells[3:] = f"{theirs:.0f}", f"{ratio:.1f}"
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--encoder", default="small")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--one", choices=CONFIGURATIONS)
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("throughput.jsonl")
    )
    parser.add_argument("--summary", action="store_true")
    args = parser.parse_args()
    if args.epochs < 2:
        parser.error("--epochs must be at least 2: the first is not timed")
    if args.summary:
        sys.stdout.write(table(latest(args.output)) + "\n")
    elif args.one:
        sys.stdout.write(json.dumps(measure(args.one, args)) + "\n")
    else:
        run_all(args)


if __name__ == "__main__":
    main()
