"""What RCE gains under other recipes: dropout and upstream's settings, or the queries of an update.

    python benchmarks/rce_recipe.py dropout --seeds 42 43 44
    python benchmarks/rce_recipe.py batch --seeds 45 46 47          # to choose by
    python benchmarks/rce_recipe.py batch --seeds 50 51 52 53 54 55 # to report

For each seed the demo is made up to its RL data once; each recipe then trains RCE from the same v2 checkpoint.
Prints the policy's expected reward on held-out RL queries after the last epoch (``val_expected_reward``, at most
2): the number that recipes are chosen by, never accuracy on the validation split. Beside it the difference to the
first recipe, paired by seed, with its 95 % interval by Student's t.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from scipy.stats import t as student

from icd_assets.evaluation.tables import text_table

_CELL = ["vqa", "demo", "0", "query_img_text_icd_img_text", "rand_sampler", "tiny_vl"]


def _batch(size: int, rate: float) -> list[str]:
    return ["--set", f"rce_checkpoints.batch_size={size}", "--set", f"rce_checkpoints.rce_lr={rate}"]


_RECIPES: dict[str, dict[str, list[str]]] = {
    "dropout": {
        "ours": [],
        "ours, dropout 0.5": ["--set", "rce_checkpoints.dropout=0.5"],
        "lever_plus, dropout 0.1": ["--preset", "lever_plus", "--set", "rce_checkpoints.dropout=0.1"],
        "lever_plus": ["--preset", "lever_plus"],
    },
    "batch": {
        f"batch {size}, rate {rate:g}": _batch(size, rate)
        for size, rates in {1: [1e-4], 8: [3e-4, 8e-4], 32: [6e-4, 1e-3, 3e-3]}.items()
        for rate in rates
    },
}


def trained(seed: int, recipe: list[str], results: Path) -> float:
    """Held-out expected reward of one recipe; what it shares with the others is made once."""
    command = [sys.executable, "-m", "icd_assets.cli", "train", *_CELL, "--recipe", "beams"]
    # lever_plus' other beam settings would change the v2 checkpoint; here the recipes start from the same one.
    same_beams = ["--set", "beam_data.rank=total", "--set", "beam_data.keep_reorderings=false"]
    same_beams += ["--set", "beam_data.expand=8"]  # the demo's own
    arguments = [*command, "--to", "rce_checkpoints", "--set", f"shared.seed={seed}", *recipe, *same_beams]
    environment = {**os.environ, "RESULT_DIR": str(results)}
    subprocess.run(arguments, check=True, env=environment, stdout=sys.stderr)
    manifest = next(results.glob("demo/model_cpk/v3_*/rce_checkpoints.manifest.json"))
    return float(json.loads(manifest.read_text(encoding="utf-8"))["facts"]["val_expected_reward"])


def difference(values: list[float], first: list[float]) -> str:
    apart = [value - other for value, other in zip(values, first, strict=True)]
    if len(apart) < 2 or values is first:
        return ""
    reach = student.ppf(0.975, len(apart) - 1) * statistics.stdev(apart) / len(apart) ** 0.5
    mean = statistics.mean(apart)
    return f"{mean:+.4f} [{mean - reach:+.4f}, {mean + reach:+.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", choices=_RECIPES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    arguments = parser.parse_args()
    recipes = _RECIPES[arguments.recipes]
    folder = Path(tempfile.mkdtemp(prefix="rce-recipe-"))
    found: dict[str, list[float]] = {name: [] for name in recipes}
    for seed in arguments.seeds:
        for name, recipe in recipes.items():
            found[name].append(trained(seed, recipe, folder / f"seed{seed}"))
    first = next(iter(found.values()))
    lines = [[name, *(f"{v:.4f}" for v in values), difference(values, first)] for name, values in found.items()]
    print(text_table(["recipe", *(f"seed {seed}" for seed in arguments.seeds), "difference"], lines))


if __name__ == "__main__":
    main()
