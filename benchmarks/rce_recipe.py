"""What RCE gains under our recipe, upstream's, and with dropouts swapped. ``python benchmarks/rce_recipe.py``

For each seed the demo is made up to its RL data once; each recipe then trains RCE from the same v2 checkpoint.
Prints the policy's expected reward on held-out RL queries after the last epoch (``val_expected_reward``, at most
2): the number that recipes are chosen by, never accuracy on the validation split.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_CELL = ["vqa", "demo", "0", "query_img_text_icd_img_text", "rand_sampler", "tiny_vl"]
_RECIPES = {
    "ours": [],
    "ours, dropout 0.5": ["--set", "rce_checkpoints.dropout=0.5"],
    "lever_plus, dropout 0.1": ["--preset", "lever_plus", "--set", "rce_checkpoints.dropout=0.1"],
    "lever_plus": ["--preset", "lever_plus"],
}


def trained(seed: int, recipe: list[str], results: Path) -> float:
    """Held-out expected reward of one recipe; what it shares with the others is made once."""
    command = [sys.executable, "-m", "icd_assets.cli", "train", *_CELL, "--to", "rce_checkpoints"]
    # lever_plus' other beam settings would change the v2 checkpoint; here the recipes start from the same one.
    same_beams = ["--set", "beam_data.rank=total", "--set", "beam_data.keep_reorderings=false"]
    arguments = [*command, "--set", f"shared.seed={seed}", *recipe, *same_beams]
    environment = {**os.environ, "RESULT_DIR": str(results)}
    subprocess.run(arguments, check=True, env=environment, stdout=sys.stderr)
    manifest = next(results.glob("demo/model_cpk/v3_*/rce_checkpoints.manifest.json"))
    return float(json.loads(manifest.read_text(encoding="utf-8"))["facts"]["val_expected_reward"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rce-recipe-"))
    print("| recipe | " + " | ".join(f"seed {seed}" for seed in arguments.seeds) + " |")
    print("|---|" + "---|" * len(arguments.seeds))
    found = {
        seed: {name: trained(seed, recipe, folder / f"seed{seed}") for name, recipe in _RECIPES.items()}
        for seed in arguments.seeds
    }
    for name in _RECIPES:
        print(f"| {name} | " + " | ".join(f"{found[seed][name]:.4f}" for seed in arguments.seeds) + " |")


if __name__ == "__main__":
    main()
