"""What becomes of sprites of scenes that are hardly missed: swap, clone, or nothing.

    python docs/benchmarks/scene_swaps.py --seeds 5

Scenes of six letters, as in `everyday.py`, decomposed with defaults by search. `swap`
is the rule of the package. `clone` is that of the papers at the same times: a sprite
that shows less than a fifth of its share of the windows becomes a copy, with noise, of
the one that shows most. `none` leaves sprites as they are. One line of JSON per fit is
appended to `--output`, each from a process of its own; `--summary` prints the table.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from apart import run_apart
from everyday import SCORES, run_one

SET = "letters"
RARE, NOISE = 0.2, 1e-4  # the papers' threshold and noise


def nothing(masks, windows, spec):
    """Masks as they were, and none that is new."""
    return masks, []


def cloned(masks, windows, spec):
    """Copies of the mask that shows most windows in place of those that show few."""
    import torch

    from sklearn_sprites._engine.training.mask_swaps import all_poses, matched

    if len(masks) < 2 or not len(windows.alpha):
        return masks, []
    cost = matched(windows, masks, all_poses(spec, masks)).cost
    usage = torch.bincount(cost.argmin(1), minlength=len(masks)) / len(cost)
    rare = (usage < RARE / len(masks)).nonzero()[:, 0]
    noise = NOISE * torch.randn(masks[rare].shape, generator=torch.Generator())
    copies = masks[usage.argmax()] + noise
    return masks.index_copy(0, rare, copies.clamp(0, 1)), rare.tolist()


RULES = {"swap": None, "clone": cloned, "none": nothing}


def run_rule(rule: str, seed: int) -> dict:
    """Fit once under a rule; what came out."""
    from sklearn_sprites._engine.training import posed_rounds

    if RULES[rule] is not None:
        posed_rounds.swapped = RULES[rule]
    return {"rule": rule, **run_one(SET, seed)}


def summary(path: Path) -> str:
    """A Markdown table: mean and, in brackets, the lowest of the seeds."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines = ["| rule | seeds | ARI | mAcc | mIoU | fit, s |", "|---" * 6 + "|"]
    for rule in RULES:
        mine = list({r["seed"]: r for r in rows if r["rule"] == rule}.values())
        if mine:
            value = {
                key: np.array([r[key] for r in mine]) for key in (*SCORES, "fit_s")
            }
            cells = [rule, str(len(mine))]
            cells += [f"{value[s].mean():.3f} ({value[s].min():.3f})" for s in SCORES]
            cells += [f"{value['fit_s'].mean():.0f}"]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--one", choices=list(RULES))
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("scene_swaps.jsonl")
    )
    parser.add_argument("--summary", action="store_true")
    args = parser.parse_args()
    if args.summary:
        sys.stdout.write(summary(args.output) + "\n")
    elif args.one:
        row = run_rule(args.one, args.first_seed)
        sys.stdout.write(json.dumps(row) + "\n")
    else:
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            for rule in RULES:
                arguments = ["--one", rule, "--first-seed", str(seed)]
                run_apart(arguments, args.output)


if __name__ == "__main__":
    main()
