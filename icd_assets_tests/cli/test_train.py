"""``icd-assets train`` before it trains: what is refused, and when."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from icd_assets.cli.cell_arguments import CellArguments
from icd_assets.cli.train import train
from icd_assets.errors import UserError


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
