"""``icd-assets train`` before it trains: what is refused, and when."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from icd_assets.cli.cell_arguments import CellArguments
from icd_assets.cli.evaluation import evaluation
from icd_assets.cli.prune import prune
from icd_assets.cli.status import status
from icd_assets.cli.train import train
from icd_assets.cli.verify import verify
from icd_assets.errors import UserError
from icd_assets_tests.worlds.workplace import ROOT


@pytest.mark.parametrize("flags", [("--to", "rl_dat"), ("--force", "rl_dat"), ("--to", "rl_dat", "--dry-run")])
def test_a_misspelled_asset_is_refused_before_the_cell_is_opened(
    flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opened, its configuration would be printed, and another command of the cell waited for."""

    def opened(self: CellArguments, settings: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(CellArguments, "open", opened)
    ended = CliRunner().invoke(train, flags)
    assert isinstance(ended.exception, UserError)
    assert str(ended.exception).startswith("there is no asset 'rl_dat'; valid: candidate_pools, ")
    assert ended.output == ""


@pytest.mark.parametrize(
    "typed", ["-1", "-10", "-1,0", "0,1", "cuda:0", "", " ", "all", "0x1", "٣", "1e0", "99999", "+0"]
)
def test_what_is_no_gpu_is_refused_in_one_sentence_of_ours(typed: str) -> None:
    ended = CliRunner().invoke(train, ["vqa", "demo", typed, "query_img_text_icd_img_text", "rand_sampler"])
    assert isinstance(ended.exception, UserError), ended.output
    assert str(ended.exception).startswith(f"gpu_id {typed!r} is not the number of one GPU; ")
    assert ended.output == ""


@pytest.mark.parametrize("command", [status, verify, prune, evaluation])
def test_other_commands_take_the_same_six_words(command: click.Command) -> None:
    ended = CliRunner().invoke(command, ["vqa", "demo", "-1", "query_img_text_icd_img_text", "rand_sampler"])
    assert str(ended.exception).startswith("gpu_id '-1' is not the number of one GPU; "), ended.output


def test_an_option_that_is_none_is_still_clicks_to_refuse() -> None:
    ended = CliRunner().invoke(train, ["vqa", "demo", "0", "--rce-epoch", "3"])
    assert ended.exit_code == 2
    assert "No such option" in ended.output


@pytest.mark.parametrize("flags", [("--name", "a b"), ("--name", ""), ("--name=..",), ("--name", "x" * 70)])
def test_a_name_that_is_none_is_refused_before_the_cell_is_opened(flags: tuple[str, ...]) -> None:
    ended = CliRunner().invoke(train, ["vqa", "demo", *flags])
    assert isinstance(ended.exception, UserError), ended.output
    assert "name" in str(ended.exception) and str(ended.exception).endswith(".")
    assert ended.output == ""


def test_a_number_of_workers_that_is_none_is_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("RESULT_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("ICD_WORKERS", "two")
    ended = CliRunner().invoke(train, ["demo|RandSampler/tiny_vl"])
    sentence = "ICD_WORKERS is 'two'; set it to a number of processes, 1 to 256, or to ray or ray:8."
    assert str(ended.exception) == sentence
    assert [path.name for path in tmp_path.iterdir()] == ["dagster.yaml"]
