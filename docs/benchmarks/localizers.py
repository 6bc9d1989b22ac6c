"""Who finds layers: search, a network that learned from it, or one that attends.

    python docs/benchmarks/localizers.py --sets tetrominoes multi_dsprites --seeds 3

Images, defaults and scores are those of `scenes.py`; 1,024 others are scored, of CLEVR
(`--sets clevr --clevr PATH`), which has 1,200 in all, 160. Search
and the network that has learned from it show the same sprites: they are one fit, of
which the network is left out once. Attention, unless `--ways` leaves it out, is trained
for as long as that fit took, in processor time. One line of JSON per way is appended to
`--output`, each set in a process of its own; `--summary` prints the table. The official
code of DTI-Sprites decomposes 204 images per second of Tetrominoes and 70 of
Multi-dSprites on two cores.
"""

import argparse
import json
import os
import pickle
import sys
import time
from pathlib import Path

import numpy as np
from apart import Budget, run_apart
from scenes import SCORES, SETS, USUAL, load, scores

WAYS = ("search", "distilled", "attention")
EPOCHS = 10_000  # more than there is time for
PASSES = 3  # over the images, of whose times the median counts
N_TEST = 1024  # a pile, whose speed is that of full batches
N_CLEVR = 160
KNOWN = (*USUAL, "clevr")


def without_network(model):
    """The same sprites, whose layers are searched."""
    other = pickle.loads(pickle.dumps(model))
    other._search["distilled"] = None
    return other


def judged(model, test) -> dict[str, float]:
    """Scores, and how quickly images are decomposed once memory is there."""
    found = model.decompose(test.images)
    times = []
    for _ in range(PASSES):
        began, busy = time.perf_counter(), time.process_time()
        model.decompose(test.images)
        times.append((time.perf_counter() - began, time.process_time() - busy))
    wall, busy = np.median(times, 0)
    return {
        **scores(model, test, found),
        "images_per_s": len(test.images) / wall,
        "images_per_cpu_s": len(test.images) / busy,
    }


def run_one(name: str, seed: int, args: argparse.Namespace) -> list[dict]:
    """One fit for search and network, another for attention if asked for."""
    from sklearn_sprites import LayeredSpriteDecomposition

    n_test = N_CLEVR if name == "clevr" else N_TEST
    scenes, test = load(name, seed, args.images, n_test, args.clevr)
    X = scenes.images
    about = {"set": name, "seed": seed, "n_images": len(X)}
    params = {**SETS[name], "random_state": seed}
    began = time.process_time()
    model = LayeredSpriteDecomposition(**params, localizer="distilled").fit(X)
    spent = time.process_time() - began
    rows = [
        {**about, "way": "search", **judged(without_network(model), test)},
        {**about, "way": "distilled", "fit_cpu_s": spent, **judged(model, test)},
    ]
    if "attention" in args.ways:
        model = LayeredSpriteDecomposition(
            **params, localizer="attention", max_rounds=EPOCHS
        )
        began = time.process_time()
        model.set_callbacks(Budget(spent)).fit(X)
        about["fit_cpu_s"] = time.process_time() - began
        rows += [{**about, "way": "attention", **judged(model, test)}]
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count()))
    return [{**row, "threads": threads} for row in rows]


def run_all(args: argparse.Namespace) -> None:
    """Sets and seeds in processes of their own, one after the other."""
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.sets:
            arguments = ["--one", "--sets", name]
            arguments += ["--first-seed", str(seed), "--images", str(args.images)]
            arguments += ["--ways", *args.ways]
            arguments += ["--clevr", str(args.clevr)] if args.clevr else []
            run_apart(arguments, args.output)


def summary(path: Path) -> str:
    """A Markdown table of means."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [
        "| set | layers by | seeds | ARI | ARI-FG | mAcc | mIoU | fit, s of one core "
        "| images/s | of one core |",
        "|---" * 10 + "|",
    ]
    for name in KNOWN:
        for way in WAYS:
            mine = [r for r in rows if r["set"] == name and r["way"] == way]
            mine = list({r["seed"]: r for r in mine}.values())
            if not mine:
                continue

            def mean(key, mine=mine) -> float:
                return float(np.mean([r[key] for r in mine]))

            cells = [name, way, str(len(mine))]
            cells += [f"{mean(score):.3f}" for score in SCORES]
            cells += [f"{mean('fit_cpu_s'):.0f}" if "fit_cpu_s" in mine[0] else ""]
            cells += [
                f"{mean(key):.0f}" for key in ("images_per_s", "images_per_cpu_s")
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=KNOWN, default=USUAL)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--clevr", type=Path, help="archive of the set clevr")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--one", action="store_true")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("localizers.jsonl")
    )
    parser.add_argument("--summary", action="store_true")
    args = parser.parse_args()
    if args.summary:
        sys.stdout.write(summary(args.output) + "\n")
    elif args.one:
        for row in run_one(args.sets[0], args.first_seed, args):
            sys.stdout.write(json.dumps(row) + "\n")
    else:
        run_all(args)


if __name__ == "__main__":
    main()
