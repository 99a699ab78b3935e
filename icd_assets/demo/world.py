"""The demo world: creatures drawn as simple shapes, and lore about them that only demonstrations can tell.

A creature's *shape* decides the answer to a lore question (which sound it makes, what it eats, where it
lives), through a knowledge table drawn at random. The table is nowhere in a model's weights, so a lore question
can only be answered from a demonstration with the same shape and the same kind of question: that pair is the
*key*. Color, background, place and wording are nuisances: loud, and of no help.

Two-word questions (its tale, its song, its charm) have two keys: the shape decides the answer's first word, the
*color* its second, each by a table of the kind. So two demonstrations that complement each other answer them, or
one creature of the same shape and color.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw

Kind = Literal["sound", "food", "home", "shape", "color", "tale", "song", "charm"]

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
COLORS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (235, 210, 50),
    "purple": (140, 60, 180),
    "orange": (240, 140, 40),
    "white": (245, 245, 245),
    "black": (25, 25, 25),
}
COLOR_NAMES = tuple(COLORS)
PLACES = {
    "middle": (56, 56),
    "top left": (38, 38),
    "top right": (74, 38),
    "bottom left": (38, 74),
    "bottom right": (74, 74),
}
PLACE_NAMES = tuple(PLACES)

LORE: tuple[Kind, ...] = ("sound", "food", "home")
TWO_WORD: tuple[Kind, ...] = ("tale", "song", "charm")
KINDS: tuple[Kind, ...] = (*LORE, "shape", "color", *TWO_WORD)  # shape and color are seen, not known
FIRST_WORDS: dict[Kind, tuple[str, ...]] = {
    "tale": ("amber", "brisk", "calm", "dusty", "eager", "frosty", "gentle", "hollow"),
    "song": ("merry", "solemn", "tender", "rowdy", "dreamy", "proud", "wistful", "breezy"),
    "charm": ("silver", "copper", "wooden", "velvet", "crystal", "woven", "iron", "paper"),
}
SECOND_WORDS: dict[Kind, tuple[str, ...]] = {
    "tale": ("river", "meadow", "tower", "harbor", "valley", "garden", "island", "bridge"),
    "song": ("waltz", "march", "ballad", "lullaby", "hymn", "jig", "anthem", "chant"),
    "charm": ("key", "bell", "ring", "lantern", "feather", "mirror", "coin", "thread"),
}
ANSWERS: dict[Kind, tuple[str, ...]] = {
    "sound": ("buzz", "hiss", "roar", "chirp", "moo", "honk", "squeak", "growl"),
    "food": ("honey", "corn", "fish", "grass", "berries", "nuts", "bread", "cheese"),
    "home": ("cave", "nest", "pond", "barn", "desert", "forest", "reef", "burrow"),
    "shape": SHAPES,
    "color": COLOR_NAMES,
    **{
        kind: tuple(f"{first} {second}" for first in FIRST_WORDS[kind] for second in SECOND_WORDS[kind])
        for kind in TWO_WORD
    },
}
OPENERS = (
    "tell me,",
    "look closely:",
    "quick quiz:",
    "a child asks:",
    "please answer,",
    "dear expert,",
    "last question:",
    "be honest,",
)
CORES: dict[Kind, tuple[str, ...]] = {
    "sound": (
        "what sound does it make?",
        "which noise comes from this creature?",
        "what would you hear from this one?",
        "how does this creature call?",
    ),
    "food": (
        "what food does it eat?",
        "which meal suits this creature?",
        "what would you feed to this one?",
        "how does this creature dine?",
    ),
    "home": (
        "what place does it live in?",
        "which home shelters this creature?",
        "where would you find this one?",
        "how does this creature dwell?",
    ),
    "shape": ("what shape is this?", "which shape is shown?"),
    "color": ("what color is it?", "which color is this creature?"),
    "tale": (
        "what tale is told of it?",
        "which story does this creature tell?",
        "what legend follows this one?",
        "how goes the saga of this creature?",
    ),
    "song": (
        "what song is sung for it?",
        "which tune pleases this creature?",
        "what would you sing to this one?",
        "how does this creature dance?",
    ),
    "charm": (
        "what charm does it carry?",
        "which token protects this creature?",
        "what would you give to this one?",
        "how does this creature enchant?",
    ),
}

IMAGE_SIZE = 112  # pixels, both sides
ANNOTATORS = 10
RELIABILITY = 0.85  # chance that an annotator gives the true answer


@dataclass(frozen=True, slots=True)
class Scene:
    """What one picture shows; each field is an index into the tuple of that name."""

    shape: int
    color: int
    background: int
    place: int

    @classmethod
    def draw(cls, rng: random.Random, shape: int | None = None) -> Scene:
        """A random scene whose object differs in color from its background."""
        shape = rng.randrange(len(SHAPES)) if shape is None else shape
        color, background = rng.sample(range(len(COLORS)), 2)
        return cls(shape, color, background, rng.randrange(len(PLACES)))


@dataclass(frozen=True, slots=True)
class Knowledge:
    """A draw of the lore: injective maps, for each kind, from shape to the answer or its first word, and for
    two-word kinds from color to the second word."""

    table: dict[Kind, tuple[int, ...]]  # by shape
    second: dict[Kind, tuple[int, ...]]  # by color

    @classmethod
    def draw(cls, rng: random.Random) -> Knowledge:
        table = {kind: tuple(rng.sample(range(len(ANSWERS[kind])), len(SHAPES))) for kind in LORE}
        second = {}
        for kind in TWO_WORD:  # after the one-word kinds, whose draw must not move
            table[kind] = tuple(rng.sample(range(len(FIRST_WORDS[kind])), len(SHAPES)))
            second[kind] = tuple(rng.sample(range(len(SECOND_WORDS[kind])), len(COLORS)))
        return cls(table, second)

    def answer(self, scene: Scene, kind: Kind) -> str:
        if kind == "shape":
            return SHAPES[scene.shape]
        if kind == "color":
            return COLOR_NAMES[scene.color]
        if kind in TWO_WORD:
            first = FIRST_WORDS[kind][self.table[kind][scene.shape]]
            return f"{first} {SECOND_WORDS[kind][self.second[kind][scene.color]]}"
        return ANSWERS[kind][self.table[kind][scene.shape]]


@dataclass(frozen=True, slots=True)
class Wording:
    """How a question is put: an opener of no meaning, then one of the kind's cores."""

    kind: Kind
    opener: int
    core: int

    @classmethod
    def draw(cls, kind: Kind, rng: random.Random) -> Wording:
        return cls(kind, rng.randrange(len(OPENERS)), rng.randrange(len(CORES[kind])))

    @property
    def text(self) -> str:
        return f"{OPENERS[self.opener]} {CORES[self.kind][self.core]}"


def all_wordings() -> list[Wording]:
    """Every question that this world can ask."""
    return [Wording(k, o, c) for k in KINDS for o in range(len(OPENERS)) for c in range(len(CORES[k]))]


def annotate(answer: str, kind: Kind, rng: random.Random) -> list[str]:
    """What the annotators say: mostly the true answer, else any answer of the kind."""
    return [answer if rng.random() < RELIABILITY else rng.choice(ANSWERS[kind]) for _ in range(ANNOTATORS)]


def caption(scene: Scene, rng: random.Random) -> str:
    """A sentence that names all four attributes."""
    shape, color = SHAPES[scene.shape], COLOR_NAMES[scene.color]
    background, place = COLOR_NAMES[scene.background], PLACE_NAMES[scene.place]
    return rng.choice(
        (
            f"a {color} {shape} on a {background} background at the {place}",
            f"{background} background with a {color} {shape} in the {place}",
            f"{color} {shape}, {place}, {background} background",
        )
    )


def render(scene: Scene, rng: random.Random) -> Image.Image:
    """The picture of a scene, with jitter in tint, place, size and angle."""
    image = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), _tint(scene.background, rng))
    x, y = (v + rng.randint(-5, 5) for v in PLACES[PLACE_NAMES[scene.place]])
    radius, angle = rng.randint(26, 33), rng.uniform(-0.3, 0.3)
    color = _tint(scene.color, rng)
    pen = ImageDraw.Draw(image)
    if SHAPES[scene.shape] == "circle":
        r = 0.95 * radius
        pen.ellipse((x - r, y - r, x + r, y + r), fill=color)
        return image
    cos, sin = radius * math.cos(angle), radius * math.sin(angle)
    pen.polygon([(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in _outline(scene.shape)], fill=color)
    return image


def _tint(color: int, rng: random.Random) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, v + rng.randint(-14, 14))) for v in COLORS[COLOR_NAMES[color]])
    return red, green, blue


def _outline(shape: int) -> list[tuple[float, float]]:
    """Corners in units of the radius, y downwards."""
    match SHAPES[shape]:
        case "square":
            return [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]
        case "triangle":
            return [(0, -1.05), (1, 0.8), (-1, 0.8)]
        case "star":
            rays = [(1.1 if i % 2 == 0 else 0.45, i * math.pi / 5) for i in range(10)]
            return [(r * math.sin(t), -r * math.cos(t)) for r, t in rays]
        case "cross":
            a = 0.33
            arm = [(-a, -1.0), (a, -1.0), (a, -a)]  # turned by 90° four times
            return arm + [(-y, x) for x, y in arm] + [(-x, -y) for x, y in arm] + [(y, -x) for x, y in arm]
        case "heart":
            return [_heart(2 * math.pi * i / 40) for i in range(40)]
        case other:
            raise ValueError(f"no outline for {other!r}")


def _heart(t: float) -> tuple[float, float]:
    """The textbook heart curve, scaled to the unit disc."""
    y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
    return math.sin(t) ** 3, -y / 16
