"""The leaderboard as a page."""

from __future__ import annotations

from collections.abc import Sequence

from icd_assets.report.bars import lines
from icd_assets.report.leaderboard import Board
from icd_assets.report.page import render as render_page


def render(boards: Sequence[Board]) -> str:
    """All tables, each row with its bar."""
    bars = [{line.row.strategy: line for line in lines(board.comparison)} for board in boards]
    return render_page("leaderboard.html", boards=list(zip(boards, bars, strict=True)))
