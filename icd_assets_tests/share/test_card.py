"""The model card: what the hub reads of it, what stands in it, and names that want to be more than names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from markdown_it import MarkdownIt

from icd_assets.errors import UserError
from icd_assets.evaluation.report import Comparison
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.plan import Plan
from icd_assets.experiment.settings import assigned
from icd_assets.share.card import card
from icd_assets.share.dataset import write_dataset
from icd_assets.share.markdown import escaped, in_code
from icd_assets.share.settings import shared_command
from icd_assets.share.trained import Trained, hub_id
from icd_assets_tests.worlds.commands import Run
from icd_assets_tests.worlds.evaluated import NAME, STEPS, evaluated_cell, make
from icd_assets_tests.worlds.manifests import World, new_world


def test_the_hub_reads_its_metadata(shared: Trained) -> None:
    data = ModelCard(card(shared, license="mit", repo="me/mine", data_repo="me/data")).data
    assert (data.license, data.library_name, data.datasets) == ("mit", "icd_assets", ["me/data"])
    assert data.model_name == "mine" and "vqa" in data.tags
    found = {one.metric_name: one.metric_value for one in data.eval_results}
    rows = {row.shots: row.score.value for row in shared.comparison.strategies if row.strategy == NAME}
    assert found == {f"accuracy of m0, {shots} shots": 100 * value for shots, value in rows.items()}
    assert {one.dataset_split for one in data.eval_results} == {"validation"}


def test_numbers_verdict_data_and_lineage_stand_in_it(shared: Trained) -> None:
    text = card(shared, license="mit")
    assert "50.00 \\[29.93, 70.07\\]" in text  # in brackets that make no link
    assert f"{NAME} is better than zero-shot by 50.0 points" in text
    assert "The labels cost 24 prompts" in text
    for node in shared.chains[0].walk():
        assert f"`{node.name}`" in text and f"`{node.data_version[:16]}`" in text
    assert card(shared, license="mit") == text


def test_without_a_licence_it_says_where_one_goes(shared: Trained, run: Run) -> None:
    data = ModelCard(card(shared)).data
    assert (data.license, data.license_name) == ("other", "to-be-named")
    assert "No licence is named yet" in card(shared) and "No licence is named yet" not in card(
        shared, license="mit"
    )
    assert run("card", "d0|RandSampler/m0", "--license", "MIT\nx: y").error.startswith(
        "--license 'MIT\\nx: y' is no"
    )


def test_it_names_nothing_of_the_machine(shared: Trained, world: World) -> None:
    assert str(world.folder) not in card(shared, license="mit")


def test_the_command_makes_what_is_there(world: World, run: Run) -> None:
    flags = {"SHOTS": "3", "ICD_SEED": "7"}
    changes = {"step_labels.prefixes": 3, "sequence_selector.dropout": 0.123456789, "shared.architecture": "gru"}
    base = world.experiment(RECIPE="sequences", **flags)
    one = Experiment(base.cell, assigned(base.settings, changes), base.store, base.catalog)
    assert one.settings != base.settings
    for asset in STEPS:
        make(one, asset)
    text = card(Trained.of(one), license="mit")
    (line,) = re.findall(r"^icd-assets train (.*)$", text, re.MULTILINE)
    assert "--set sequence_selector.dropout=0.123456789" in line and "--architecture gru" in line
    planned = run("train", *line.split(), "--dry-run", "--json")
    assert '"to_make": []' in planned.output, planned


def test_what_is_not_evaluated_is_not_shared(world: World, cell: Experiment) -> None:
    with pytest.raises(UserError, match=r"d0\|MixSampler/m0 has no trained selector yet; run icd-assets train"):
        Trained.of(world.experiment("d0|MixSampler/m0", RECIPE="sequences"))
    make(cell, "sequence_selector", 6)  # trained again since
    with pytest.raises(UserError, match="its sequence_selector is not evaluated yet; run icd-assets train"):
        Trained.of(cell)


@pytest.mark.parametrize("content", [b"", b'{"num_queries": 1', b"[]", b'{"num_queries": "<b>"}'])
def test_an_evaluation_that_was_changed_is_refused(cell: Experiment, content: bytes) -> None:
    (cell.paths.evaluation / "comparison.json").write_bytes(content)
    with pytest.raises(UserError, match=r"comparison\.json"):
        Trained.of(cell)


HOSTILE = "<img/**src**=x>`![x](//evil.example)`&amp;{{7*7}}{%a%}:-#'\"$(id)"


def test_a_hostile_name_is_shown_letter_by_letter(tmp_path: Path) -> None:
    hostile = HOSTILE.replace("/", "").replace("[", "").replace("]", "")  # the catalog refuses these
    world = new_world(tmp_path / "w")
    path = world.folder / "catalog.yaml"
    catalog = yaml.safe_load(path.read_text(encoding="utf-8"))
    catalog["datasets"][hostile] = catalog["datasets"].pop("d0")
    catalog["models"][hostile] = catalog["models"].pop("m0")
    path.write_text(yaml.safe_dump(catalog), encoding="utf-8")
    shared = Trained.of(evaluated_cell(world, f"{hostile}|RandSampler/{hostile}"))
    text = card(shared, license="mit")
    assert ModelCard(text).data.eval_results[0].dataset_name == hostile
    write_dataset(tmp_path, shared, license="mit")
    of_data = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert DatasetCard(of_data).data.license == "mit"
    for one in (text, of_data):
        html = MarkdownIt("gfm-like", {"linkify": False}).render(one.partition("\n---\n")[2])
        assert "<img" not in html and "<strong>src" not in html
        assert "evil.example" not in re.sub(">[^<]*<", "", html)  # in no tag: no link
        assert html.count("{{7*7}}") > 1  # shown, not computed
    (command,) = re.findall(r"^icd-assets train (.*)$", text, re.MULTILINE)
    assert shlex.split(command)[0] == hostile and "$(id)" not in shlex.split(command)[1:2]


def test_a_hostile_strategy_cannot_leave_its_cell(shared: Trained) -> None:
    name = "a | b\n\n# c <script> www.evil.example \x1b[31m\u202e"
    rows = [
        row.model_copy(update={"strategy": name}) if row.shots == 0 else row
        for row in shared.comparison.strategies
    ]
    changed = Comparison.model_validate({**shared.comparison.model_dump(), "strategies": rows})
    text = card(Trained(shared.experiment, shared.manifest, shared.evaluation, changed), license="mit")
    (line,) = [line for line in text.splitlines() if "evil" in line]
    assert line.startswith("| a \\| b \\# c \\<script\\> www\\.evil.example") and line.count(" | ") == 4
    assert "\x1b" not in text and "\u202e" not in text


@pytest.mark.parametrize("text", ["a`b", "``", "x|y", "\n", "é"])
def test_code_stays_in_its_backticks(text: str) -> None:
    found = in_code(text)
    assert found.count("`") == 2 and "\n" not in found and "|" not in found


def test_markdown_is_escaped_once() -> None:
    assert escaped("a_b [c](d)\n\te") == "a\\_b \\[c\\](d) e"


@pytest.mark.parametrize(
    ("path", "hub"),
    [
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32"),
        ("/models/clip", None),
        ("./models/clip", None),
        ("clip", None),
        ("models/a/clip", None),
        ("~/clip", None),
    ],
)
def test_only_what_others_can_have_is_named(path: str, hub: str | None) -> None:
    assert hub_id(path) == hub


def test_card_prints_and_never_overwrites(cell: Experiment, run: Run, tmp_path: Path) -> None:
    printed = run("card", "d0|RandSampler/m0", "--license", "mit")
    assert printed.code == 0 and printed.output == card(Trained.of(cell), license="mit")
    there = tmp_path / "README.md"
    assert run("card", "d0|RandSampler/m0", "--license", "mit", "--to", str(there)).code == 0
    assert there.read_text(encoding="utf-8") == printed.output
    there.write_text("mine", encoding="utf-8")
    refused = run("card", "d0|RandSampler/m0", "--to", str(there))
    assert (refused.code, there.read_text(encoding="utf-8")) == (2, "mine") and "name a new file" in refused.error


def test_plans_agree(cell: Experiment) -> None:
    """The world is what it says it is: nothing of the cell is stale."""
    assert Plan.of(cell).to_make == []


def test_the_command_has_no_folder_of_the_machine(monkeypatch: pytest.MonkeyPatch, cell: Experiment) -> None:
    made = "icd-assets train d r m --rl-data-path '/home/me/my data.json' --set a.b=/x/y.pt --set c.d=1/2"
    monkeypatch.setattr("icd_assets.share.settings.command", lambda *_: made)
    assert shared_command(cell) == (
        "icd-assets train d r m --rl-data-path 'my data.json' --set a.b=y.pt --set c.d=1/2"
    )
