"""``icd-assets demo``: both kinds of question in one table, and nothing is made a second time."""

from __future__ import annotations

import pytest
import yaml

from icd_assets.experiment.catalog import CATALOG
from icd_assets_tests.worlds.workplace import Workplace, shrink

pytestmark = pytest.mark.slow


def test_one_table_for_both_kinds(workplace: Workplace) -> None:
    shrink(workplace)
    path = workplace.folder / "catalog.yaml"
    catalog = yaml.safe_load(path.read_text(encoding="utf-8"))
    shipped = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))["datasets"]["demo_pairs"]
    small = {name: catalog["datasets"]["demo"][name] for name in ("sample_num", "settings")}
    catalog["datasets"]["demo_pairs"] = shipped | small
    path.write_text(yaml.safe_dump(catalog), encoding="utf-8")

    ended = workplace.run("demo", RECIPE="singles", COLUMNS="200")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    table = ended.stdout[ended.stdout.rindex("strategy") :]
    assert table.splitlines()[0].split() == ["strategy", "one", "word", "two", "words", "prompts"]
    (selector,) = (line for line in table.splitlines() if line.startswith("coverage (singles)   "))
    assert selector.count("…") == 2 and selector.split()[-1] == "520"  # 8 queries, 64 candidates and none
    assert "†" not in table  # the oracle, too, was asked about all 12 questions
    for kind, dataset in (("one word", "demo"), ("two words", "demo_pairs")):
        assert f"\n{kind}: 12 questions, 2 shots; a…b: 95 % intervals, clustered by " in table
        assert f"icd-assets evaluation {dataset} rand_sampler tiny_vl\n" in table

    again = workplace.run("demo", RECIPE="singles", COLUMNS="200")
    assert again.stdout.count("nothing had to be done") == 2
    assert again.stdout.endswith(table)
