"""``train --seeds`` as a real process: side by side, nothing lost, nothing asked twice, and a table over them."""

from __future__ import annotations

import json

import pytest

from icd_assets_tests.worlds.workplace import Workplace, shrink

pytestmark = pytest.mark.slow

FLAGS = ("--rce-epochs", "1")


def test_two_seeds(workplace: Workplace) -> None:
    shrink(workplace)
    alone = workplace.train(*FLAGS)
    assert alone.returncode == 0, alone.stderr
    before = {path: path.read_bytes() for path in (workplace.results / "demo").rglob("*") if path.is_file()}

    planned = workplace.train(*FLAGS, "--seeds", "42,43", "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    plans = json.loads(planned.stdout)["seeds"]
    assert plans["42"]["to_make"] == [] and "rl_data" in plans["43"]["to_make"]
    assert plans["43"]["results_root"] == str(workplace.results / "seeds" / "43")
    assert not (workplace.results / "seeds").exists()

    early = workplace.run("evaluation", "--seeds", "42,43", *FLAGS)
    assert "is not evaluated under seed 43; run icd-assets train for it with --seeds 42,43." in early.stderr

    both = workplace.train(*FLAGS, "--seeds", "42,43")
    assert both.returncode == 0, both.stderr
    assert {path: path.read_bytes() for path in before} == before
    words = " ".join(both.stdout.split())
    assert "2 seeds, 12 questions, 2 shots; 95 % intervals" in words
    assert "seed 42 seed 43 sd" in words
    other = workplace.results / "seeds" / "43"
    assert (other / "demo/cache/demo-anchor_sample_num:8-seed:43.json").is_file()
    assert not (other / ".icd_assets" / "answers.sqlite").exists()

    again = workplace.train(*FLAGS, "--seeds", "42,43")
    assert again.stdout.count("nothing had to be done") == 2

    shown = workplace.run("evaluation", "--seeds", "43,42", *FLAGS, "--json")
    found = json.loads(shown.stdout)["over_seeds"]
    own = json.loads(next(other.glob("demo/icl_inference/*/comparison.json")).read_text())
    score = next(
        row["score"]["value"] for row in own["strategies"] if (row["strategy"], row["shots"]) == ("RCE", 2)
    )
    assert found["seeds"] == [43, 42] and found["scores"]["RCE"][0] == score
    status = workplace.run("doctor", "--fix")
    assert "half-done" not in status.stdout
