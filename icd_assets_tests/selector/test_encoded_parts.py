"""An encoding that was killed goes on behind its last finished part, with the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from icd_assets.runtime.progress import OnProgress, ignore
from icd_assets.selector import encoded_parts
from icd_assets.selector.encoded_parts import EncodedParts, encoded_in_parts
from icd_assets.selector.encoder import ClipEncoder
from icd_assets.store.journal import JOURNAL
from icd_assets_tests.worlds.tiny import tiny_clip, write_images

TEXTS = ["a", "bb", "ccc", "dddd", "e"]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded_parts, "PART", 2)


class Encoder:
    """[length, first letter] of each text; ends like a killed process at ``last``."""

    def __init__(self, last: str | None = None) -> None:
        self.met: list[str] = []
        self.last = last

    def __call__(self, texts: Sequence[str], on_progress: OnProgress) -> Tensor:
        if self.last in texts:
            raise KeyboardInterrupt
        self.met += texts
        on_progress(len(texts), len(texts))
        return torch.tensor([[float(len(text)), float(ord(text[0]))] for text in texts])


def encoded(encoder: Encoder, folder: Path | None, texts: Sequence[str] = TEXTS) -> Tensor:
    keep = None if folder is None else EncodedParts(folder)
    return encoded_in_parts(texts, 2, encoder, keep, ignore)


def interrupted(folder: Path, last: str = "dddd") -> None:
    with pytest.raises(KeyboardInterrupt):
        encoded(Encoder(last), folder)


def test_it_goes_on_behind_the_last_finished_part(tmp_path: Path) -> None:
    whole = encoded(Encoder(), None)
    interrupted(tmp_path / "parts", last="e")
    again = Encoder()
    assert torch.equal(encoded(again, tmp_path / "parts"), whole)
    assert again.met == ["e"]
    third = Encoder()
    assert torch.equal(encoded(third, tmp_path / "parts"), whole)
    assert third.met == []


def test_parts_of_other_texts_are_not_taken(tmp_path: Path) -> None:
    interrupted(tmp_path)
    again = Encoder()
    encoded(again, tmp_path, ["bb", "a", "ccc"])
    assert again.met == ["bb", "a", "ccc"]


def test_parts_of_another_width_are_not_taken(tmp_path: Path) -> None:
    encoded(Encoder(), tmp_path)
    assert EncodedParts(tmp_path).get(next(tmp_path.glob("*.f32")).name, (2, 99)) is None


@pytest.mark.parametrize(
    "damage", ["flipped", "shorter", "gone", "journal torn", "journal of another", "journal names more"]
)
def test_a_damaged_part_is_encoded_again(tmp_path: Path, damage: str) -> None:
    interrupted(tmp_path)
    (part,) = tmp_path.glob("*.f32")
    journal = tmp_path / JOURNAL
    match damage:
        case "flipped":
            part.write_bytes(bytes([part.read_bytes()[0] ^ 1]) + part.read_bytes()[1:])
        case "shorter":
            part.write_bytes(part.read_bytes()[:-1])
        case "gone":
            part.unlink()
        case "journal torn":
            journal.write_bytes(journal.read_bytes()[:-9])
        case "journal of another":
            journal.write_text('{"facts": {"parts": {"a": [1]}}, "files": {}}')
        case "journal names more":
            journal.write_text(f'{{"facts": {{"parts": ["{part.name}"]}}, "files": {{}}}}')
            part.unlink()
    again = Encoder()
    assert torch.equal(encoded(again, tmp_path), encoded(Encoder(), None))
    assert again.met == TEXTS


def test_where_nothing_can_be_kept_it_is_encoded_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert torch.equal(encoded(Encoder(), tmp_path / "file" / "parts"), encoded(Encoder(), None))


def test_progress_counts_all_parts(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    interrupted(tmp_path)
    encoded_in_parts(TEXTS, 2, Encoder(), EncodedParts(tmp_path), lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert (seen[0], seen[-1]) == ((2, 5), (5, 5))


def test_the_encoder_keeps_texts_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, images = ClipEncoder.load(str(tiny_clip())), write_images(tmp_path / "images", 5)
    keep = EncodedParts(tmp_path / "parts")
    texts = encoder.text_features(TEXTS, keep=keep)
    pictures = encoder.image_features([*images, images[0]], keep=keep)
    assert len([*(tmp_path / "parts").glob("*.f32")]) == 6
    monkeypatch.setattr(encoder, "_encode_texts", None)
    monkeypatch.setattr(encoder, "_encode_images", None)
    kept = EncodedParts(tmp_path / "parts")
    assert torch.equal(encoder.text_features(TEXTS, keep=kept), texts)
    assert torch.equal(encoder.image_features([*images, images[0]], keep=kept), pictures)
