"""Swap against clone-and-perturb: accuracy, time, and what the rule itself costs.

    python docs/benchmarks/reassignment.py --folder FOLDER --seeds 10

FOLDER holds the archives named in recipes.py; digits need none. Everything but the rule
is as by default. The share of a fit is the processor's time spent in looking which
sprites to move and in moving them, of that of the whole fit. One line of JSON per fit
is appended to `--output`, each from a process of its own; `--summary` prints the table.
"""

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from apart import run_apart
from clustering import OPTIONS, scores
from recipes import SETS, load

RULES = ("swap", "clone")
DEFAULT_SETS = ("digits", "mnist", "usps", "gtsrb8")


class Watch:
    """Adds up the processor's time spent in functions."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.calls = 0

    def over(self, function: Callable) -> Callable:
        """The same function, timed."""

        def timed(*args, **kwargs):
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.process_time() - began
                self.calls += 1

        return timed


def watch_reassignment() -> Watch:
    """Time all that either rule does, in this process."""
    from sklearn_sprites._engine.training import reassignment, run

    watch = Watch()
    run.farewell, run.move = watch.over(run.farewell), watch.over(run.move)
    reassignment.clone = watch.over(reassignment.clone)
    return watch


def run_one(name: str, rule: str, args: argparse.Namespace) -> dict:
    """Fit once; what came out."""
    from sklearn_sprites import SpriteClustering

    images, truth = load(name, args.folder)
    if args.images is not None:
        kept = np.random.default_rng(0).permutation(len(images))[: args.images]
        images, truth = images[kept], truth[kept]
    options = OPTIONS.get(name, {"n_clusters": 10})
    if args.epochs is not None:
        options = {**options, "max_epochs": args.epochs}
    estimator = SpriteClustering(
        **options, reassignment=rule, random_state=args.first_seed
    )
    watch = watch_reassignment()
    began, busy = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(images)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    return {
        "set": name,
        "rule": rule,
        "seed": args.first_seed,
        **scores(estimator.labels_, truth),
        "inertia": float(estimator.inertia_),
        "fit_s": seconds,
        "reassignment_s": watch.seconds,
        "fit_cpu_s": busy,
        "share": watch.seconds / busy,
        "calls": watch.calls,
        "n_iter": int(estimator.n_iter_),
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())),
        "machine": platform.machine(),
    }


def run_all(args: argparse.Namespace) -> None:
    """Fits in processes of their own, one after the other."""
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.sets:
            for rule in args.rules:
                arguments = ["--folder", str(args.folder), "--one", rule]
                arguments += ["--sets", name, "--first-seed", str(seed)]
                for option in ("images", "epochs"):
                    value = getattr(args, option)
                    arguments += [] if value is None else [f"--{option}", str(value)]
                run_apart(arguments, args.output)


def summary(path: Path) -> str:
    """A Markdown table over seeds."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    head = "| set | rule | seeds | accuracy (mean, lowest, std) | NMI |"
    head += " fit, s of one core | reassignment, % of fit |"
    lines = [head, "|---" * 7 + "|"]
    for name in SETS:
        for rule in RULES:
            mine = [r for r in rows if r["set"] == name and r["rule"] == rule]
            if not mine:
                continue
            accuracy, nmi, share = (
                np.array([r[key] for r in mine]) for key in ("accuracy", "nmi", "share")
            )
            # rows older than the processor's time have only that of the clock
            seconds = np.array([r.get("fit_cpu_s", r["fit_s"]) for r in mine])
            cells = [
                name,
                rule,
                str(len(mine)),
                f"{accuracy.mean():.4f}, {accuracy.min():.4f}, {accuracy.std():.4f}",
                f"{nmi.mean():.3f}",
                f"{seconds.mean():.1f}",
                f"{100 * share.mean():.1f}",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--sets", nargs="+", choices=SETS, default=DEFAULT_SETS)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=RULES)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--images", type=int, help="fit only so many, for a trial")
    parser.add_argument("--epochs", type=int, help="max_epochs, for a trial")
    parser.add_argument("--one", choices=RULES)
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("reassignment.jsonl")
    )
    parser.add_argument("--summary", action="store_true")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run_one(args.sets[0], args.one, args)))
        return
    if not args.summary:
        run_all(args)
    print(summary(args.output))


if __name__ == "__main__":
    main()
