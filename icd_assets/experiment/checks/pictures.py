"""Is every picture that the planned steps need there, whole, and one that the model's processor takes?

A picture is decoded once, a size is shown to a processor once; both are remembered. Where something is wrong with
a picture, it counts only if a planned step may read it: what a random sampler draws is known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from icd_assets.datasets.images import Size, bad_images, first_questions, look_at
from icd_assets.datasets.vqa import VqaSplit
from icd_assets.experiment.checks.look import Look, Split
from icd_assets.pools.config import SAMPLERS
from icd_assets.runtime.finding import Finding

_MANY = 2000  # pictures: so many take long enough to say what is going on
_NAMED = 3
_ALL = 4  # times the library: so many draws leave next to nothing of it out


def pictures(look: Look) -> Iterator[Finding]:
    """Of each split that is read: bad files, then pictures out of the processor's bounds."""
    if not (look.reads_pictures or look.thorough):
        return
    needed = _Needed(look)
    for split, items in look.splits.items():
        if split == "train" or look.makes("evaluation") or look.thorough:
            yield from _of_split(look, split, items, needed)


def _of_split(look: Look, split: Split, items: VqaSplit, needed: _Needed) -> Iterator[Finding]:
    experiment = look.experiment
    images = first_questions(items)
    if len(images) > _MANY:
        look.note(f"looking at the {len(images):,} pictures of {experiment.cell.dataset} {split}")
    folder = experiment.store.caches
    looked = look_at(list(images), folder, look.on_progress, read_only=experiment.read_only)
    look.sizes[split] = list(looked.sizes.values())
    if looked.bad:
        read = needed.encoded(split) | needed.asked(split)
        if bad := {path: problem for path, problem in looked.bad.items() if path in read}:
            found = bad_images(bad, images, None if experiment.read_only else folder)
            yield Finding("images", "problem", found, "put the images where the catalog's images pattern points")
    refused = refusals(look, set(looked.sizes.values())) if looked.sizes else {}
    if refused:
        shown = needed.asked(split)
        out = {path: size for path, size in looked.sizes.items() if size in refused and path in shown}
        if out:
            yield _refused(look, split, out, refused, images)
            return
    if not looked.bad:
        yield Finding("images", "ok", f"{len(images)} {split} pictures decode")


def _refused(
    look: Look, split: Split, out: dict[Path, Size], refused: dict[Size, str], images: dict[Path, object]
) -> Finding:
    named = [
        f"{path} ({width}×{height}) of question_id {images[path]}: {refused[width, height]}"
        for path, (width, height) in list(out.items())[:_NAMED]
    ]
    more = f"; and {len(out) - _NAMED} more" if len(out) > _NAMED else ""
    return Finding(
        "images",
        "problem",
        f"the processor of {look.experiment.model.name} refuses {len(out)} of {len(images)} {split} pictures: "
        f"{'; '.join(named)}{more}",
        "replace the picture, or leave its questions out of the split",
    )


def refusals(look: Look, sizes: set[Size]) -> dict[Size, str]:
    """The ``sizes`` that the model's own processor does not take, and why; none for a model that is served."""
    experiment = look.experiment
    if experiment.model.unsupported is not None or not (look.asks or look.thorough):
        return {}
    limits = experiment.model.backend.picture_limits(experiment.store.digests)
    if limits is None:
        return {}
    key = ["picture limits", limits.key]
    known: dict[str, str | None] = dict(look.scans.value(key, dict))
    names = {size: f"{size[0]}x{size[1]}" for size in sorted(sizes)}
    if new := [size for size, name in names.items() if name not in known]:
        refusal = limits.load()
        known |= {names[size]: refusal(size) for size in new}
        look.scans.put(key, known)
    return {size: reason for size, name in names.items() if (reason := known[name]) is not None}


class _Needed:
    """The pictures that the planned steps may read; found out only where it matters."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def encoded(self, split: Split) -> frozenset[Path]:
        """Those that CLIP encodes: all of the train split for embeddings, and for samplers that compare."""
        look, items = self._look, self._look.splits[split]
        if split == "train":
            return frozenset(items.images) if look.encodes or look.thorough else frozenset()
        return self.asked(split)

    def asked(self, split: Split) -> frozenset[Path]:
        """Those that may stand in a prompt."""
        return self._train if split == "train" else self._validation

    @cached_property
    def _validation(self) -> frozenset[Path]:
        look, items = self._look, self._look.splits["validation"]
        return frozenset(items[row].image for row in look.asked_rows)

    @cached_property
    def _train(self) -> frozenset[Path]:
        rows, images = self._train_rows(), self._look.splits["train"].images
        return frozenset(images if rows is None else (images[row] for row in rows))

    def _train_rows(self) -> set[int] | None:
        """None for all."""
        from icd_assets.pools.rows import all_rows, candidate_rows
        from icd_assets.pools.samplers import build_pools

        look, experiment = self._look, self._look.experiment
        train, config = look.splits["train"], experiment.config("candidate_pools")
        if SAMPLERS[experiment.cell.sampler].needs_features:
            return None  # which ones it takes is known after hours
        rows: set[int] = set()
        splits: list[tuple[VqaSplit, list[int], bool]] = [(train, look.anchor_rows, True)]
        if look.makes("evaluation") and "validation" in look.splits:
            splits.append((look.splits["validation"], look.asked_rows, False))
        for items, queries, same in splits:
            if len(queries) * config.pool_size > _ALL * len(train):
                return None
            asked = [items[row] for row in queries]
            pools = build_pools(experiment.cell.sampler, asked, train, config, same_split=same)
            rows |= set(all_rows(pools) if same else candidate_rows(pools))
        return rows
