"""The world draws the same things again, and its pictures show what the scene says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from icd_assets.demo.world import (
    ANNOTATORS,
    ANSWERS,
    COLORS,
    KINDS,
    LORE,
    PLACES,
    SHAPES,
    TWO_WORD,
    Knowledge,
    Scene,
    all_wordings,
    annotate,
    caption,
    render,
)
from icd_assets.runtime.seeding import python_rng

SCENE = Scene(shape=0, color=0, background=2, place=0)


def picture(scene: Scene, seed: int = 0) -> Image.Image:
    return render(scene, python_rng(seed, "test"))


def test_same_seed_same_bytes() -> None:
    assert picture(SCENE).tobytes() == picture(SCENE).tobytes()
    assert picture(SCENE, 0).tobytes() != picture(SCENE, 1).tobytes()


@pytest.mark.parametrize(
    ("attribute", "size"),
    [("shape", len(SHAPES)), ("color", len(COLORS)), ("background", len(COLORS)), ("place", len(PLACES))],
)
def test_every_attribute_changes_the_pixels(attribute: str, size: int) -> None:
    pictures = {picture(replace(SCENE, **{attribute: value})).tobytes() for value in range(size)}
    assert len(pictures) == size


def test_color_and_background_are_painted_where_they_belong() -> None:
    image = picture(SCENE)
    red, _, blue = image.getpixel((56, 56))
    assert red > 150 > blue
    red, _, blue = image.getpixel((1, 1))
    assert blue > 150 > red


def test_object_never_has_the_color_of_its_background() -> None:
    rng = python_rng(0, "test")
    assert all((s := Scene.draw(rng)).color != s.background for _ in range(500))


def test_knowledge_is_injective_and_drawn_anew() -> None:
    first, second = (Knowledge.draw(python_rng(seed, "test")) for seed in (0, 1))
    assert first.table != second.table
    for kind in LORE:
        given = {first.answer(replace(SCENE, shape=shape), kind) for shape in range(len(SHAPES))}
        assert len(given) == len(SHAPES)
        assert given < set(ANSWERS[kind])


def test_two_words_have_two_deciders() -> None:
    """The first word moves with the shape alone, the second with the color alone; both maps are injective."""
    first, other = (Knowledge.draw(python_rng(seed, "test")) for seed in (0, 1))
    for kind in TWO_WORD:
        said = {
            (shape, color): first.answer(replace(SCENE, shape=shape, color=color), kind).split()
            for shape in range(len(SHAPES))
            for color in range(len(COLORS))
        }
        assert len({(shape, words[0]) for (shape, _), words in said.items()}) == len(SHAPES)
        assert len({(color, words[1]) for (_, color), words in said.items()}) == len(COLORS)
        assert len({tuple(words) for words in said.values()}) == len(said)
        assert {" ".join(words) for words in said.values()} < set(ANSWERS[kind])
    assert first.second != other.second


def test_no_answer_is_of_two_kinds() -> None:
    words = [word for kind in KINDS for word in sorted({w for answer in ANSWERS[kind] for w in answer.split()})]
    assert len(set(words)) == len(words)


def test_what_is_seen_needs_no_knowledge() -> None:
    knowledge = Knowledge.draw(python_rng(0, "test"))
    assert knowledge.answer(SCENE, "shape") == "circle"
    assert knowledge.answer(SCENE, "color") == "red"


def test_wordings_are_distinct_and_of_every_kind() -> None:
    wordings = all_wordings()
    assert len({wording.text for wording in wordings}) == len(wordings)
    assert {wording.kind for wording in wordings} == set(KINDS)


def test_caption_names_every_attribute() -> None:
    for seed in range(10):
        text = caption(Scene(2, 3, 4, 1), python_rng(seed, "test"))
        assert all(word in text for word in ("triangle", "yellow", "purple background", "top left"))


def test_annotators_mostly_agree() -> None:
    rng = python_rng(0, "test")
    said = [annotate("buzz", "sound", rng) for _ in range(200)]
    assert all(len(answers) == ANNOTATORS for answers in said)
    assert 0.82 < sum(answers.count("buzz") for answers in said) / (200 * ANNOTATORS) < 0.92
    assert {answer for answers in said for answer in answers} <= set(ANSWERS["sound"])
