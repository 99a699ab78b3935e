"""The page of a comparison: who is better, by how much, on which questions, and what else differs."""

from __future__ import annotations

from icd_assets.evaluation.verdict import footnotes
from icd_assets.experiment.experiment import Experiment
from icd_assets.report.bars import lines, top
from icd_assets.report.compare_sides import Compared
from icd_assets.report.gallery import NoPictures, Pictures, SplitPictures, gallery
from icd_assets.report.page import render as render_page
from icd_assets.runtime.progress import OnProgress, ignore


def render(compared: Compared, experiment: Experiment | None, on_progress: OnProgress = ignore) -> str:
    """The page. ``experiment``: whose pictures the questions have, if that is known."""
    pictures: Pictures = NoPictures()
    if experiment is not None:
        pictures = SplitPictures(experiment.data.validation, experiment.data.train)
    first, second, *_ = compared.rows
    shown = gallery(compared.rows, pictures, shown=(first, second), relation="flipped", on_progress=on_progress)
    return render_page(
        "compare.html",
        compared=compared,
        comparison=compared.comparison,
        first=first,
        lines=lines(compared.comparison),
        top=top(compared.comparison),
        flipped={one.name: one for one in compared.flips},
        differences={row.strategy: row for row in compared.comparison.family},
        footnotes=footnotes(compared.comparison),
        sentences=compared.sentences,
        gallery=shown.data,
        pictures=shown.pictures,
    )
