"""``icd-assets headroom`` on a cell where nothing is made yet."""

from __future__ import annotations

import json

from icd_assets_tests.worlds.workplace import KEY, Workplace


def test_a_cell_without_artifacts(workplace: Workplace) -> None:
    shown = workplace.run("headroom", KEY, "--budget", "400", COLUMNS="80")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("no RL data to look at\nasking at most 393 prompts: 3 train questions")
    assert "the policy is similarity: " in shown.stdout and "\nrecipe: " in shown.stdout
    again = json.loads(workplace.run("headroom", KEY, "--budget", "400", "--json").stdout)
    assert (again["schema"], again["stored"]) == (1, {})
    assert (again["sample"]["prompts_asked"], again["sample"]["prompts_reused"]) == (0, 393)
    assert again["sample"]["recipe"] in shown.stdout
    assert json.loads(workplace.run("headroom", KEY, "--budget", "0", "--json").stdout)["sample"] is None
    few = workplace.run("headroom", KEY, "--budget", "200")
    assert few.returncode == 2 and "--budget is 200, but one query takes 131 prompts" in few.stderr


def test_after_a_run_the_policy_is_its_selector(copied: Workplace) -> None:
    found = json.loads(copied.run("headroom", KEY, "--budget", "270", "--json").stdout)
    assert found["sample"]["policy_is"] == "the v2 selector"
    kinds = found["stored"]
    assert kinds["seen"]["rows"] + kinds["not_seen"]["rows"] == 24
    assert kinds["seen"]["rows"] == 21  # of 24 anchors, nine tenths
    sentence = "21 rows that SFT was fitted to: a stored pointer beats the policy's first beam in "
    assert sentence in copied.run("headroom", KEY, "--budget", "0").stdout
    facts = json.loads(next(copied.results.rglob("rl_data*.manifest.json")).read_text())["facts"]
    assert facts["headroom_seen"].startswith(sentence)
    assert facts["headroom_seen_lost"] == kinds["seen"]["lost"]["value"]
    assert sentence in copied.run("doctor", KEY, "--no-smoke", COLUMNS="300").stdout
