"""Every family against transformers called by hand: a conversation in its own words, one prompt at a time."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, GenerationConfig
from transformers.processing_utils import ProcessorMixin

from icd_assets.errors import UserError
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.processor import load_processor
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets.vlm.transformers_backend import TransformersBackend
from icd_assets_tests.worlds.tiny import write_images
from icd_assets_tests.worlds.tiny_families import FAMILIES

pytestmark = pytest.mark.slow

STYLES = {
    "turns": PromptStyle(layout="turns", question="{question}"),
    "interleaved": PromptStyle(system="answer the question"),
}
GREEDY = Generation(max_new_tokens=3, num_beams=1)
BEAMS = Generation(max_new_tokens=3, num_beams=3)

PATHS = {"kept features": 1 << 24, "plain path": 0}

families = pytest.mark.parametrize("family", FAMILIES)
layouts = pytest.mark.parametrize("layout", STYLES)
paths = pytest.mark.parametrize("path", PATHS)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Prompt], list[str]]:
    """Two shots, one, none; square, wide and high images; a gray one."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("images")
    square, other, wide, *_ = write_images(folder, 3)
    high = folder / "high.png"
    Image.effect_noise((60, 150), 80).save(high)
    prompts = [
        Prompt(
            (Shot(square, "which shape is this?", "red dog"), Shot(wide, "which?", "dog")), high, "what color?"
        ),
        Prompt(
            (Shot(wide, "which shape is this?", "red dog"), Shot(square, "which?", "dog")), high, "what color?"
        ),
        Prompt((), wide, "which?"),
        Prompt((Shot(high, "what sound does it make?", "buzz"),), other, "which is it?"),
        Prompt((), other, "which?"),
    ]
    return prompts, ["red dog", "red dog", "buzz", "xyzzy 17", "dog"]


@functools.cache
def load(
    family: str, layout: str, path: str, generation: Generation = GREEDY, batch_size: int = 4
) -> TransformersBackend:
    return TransformersBackend.load(
        str(FAMILIES[family]()),
        digest="of the files",
        style=STYLES[layout],
        generation=generation,
        batch_size=batch_size,
        feature_bytes=PATHS[path],
    )


class ByHand:
    """transformers alone: it renders the conversation, opens the images and cuts them itself."""

    def __init__(self, family: str, layout: str) -> None:
        self.model = AutoModelForImageTextToText.from_pretrained(FAMILIES[family]()).eval()
        self.processor = load_processor(FAMILIES[family]())
        self.layout = layout

    def inputs(self, prompt: Prompt) -> Any:
        # The mixin's method: SmolVLM's own asks for a video processor.
        return ProcessorMixin.apply_chat_template(
            self.processor,
            self.conversation(prompt),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )

    def conversation(self, prompt: Prompt) -> list[dict[str, Any]]:
        def image(path: Path) -> dict[str, str]:
            return {"type": "image", "path": str(path)}

        def text(words: str) -> dict[str, str]:
            return {"type": "text", "text": words}

        if self.layout == "turns":
            turns = []
            for shot in prompt.shots:
                turns.append({"role": "user", "content": [image(shot.image), text(shot.question)]})
                turns.append({"role": "assistant", "content": [text(shot.answer)]})
            return [*turns, {"role": "user", "content": [image(prompt.image), text(prompt.question)]}]
        parts = []
        for shot in prompt.shots:
            parts += [image(shot.image), text(f"Question:{shot.question} Short answer:{shot.answer}")]
        parts += [image(prompt.image), text(f"Question:{prompt.question} Short answer:")]
        system = {"role": "system", "content": [text("answer the question")]}
        return [system, {"role": "user", "content": parts}]

    @torch.no_grad()
    def logprob(self, prompt: Prompt, answer: str) -> float:
        """log_softmax over the answer's tokens alone."""
        inputs = self.inputs(prompt)
        target = torch.tensor(self.processor.tokenizer(answer, add_special_tokens=False)["input_ids"])
        start = inputs["input_ids"].shape[1]
        for name, value in inputs.items():  # what is given per token grows by the answer
            if value.shape == (1, start):
                added = target if name == "input_ids" else torch.full_like(target, int(name == "attention_mask"))
                inputs[name] = torch.cat([value, added[None]], dim=1)
        logits: Tensor = self.model(**inputs).logits[0, start - 1 : -1].log_softmax(-1)
        return float(logits.gather(1, target[:, None]).sum())

    @torch.no_grad()
    def answer(self, prompt: Prompt, generation: Generation) -> str:
        inputs, tokenizer = self.inputs(prompt), self.processor.tokenizer
        self.model.generation_config = GenerationConfig(
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
        )
        beams = {"length_penalty": generation.length_penalty} if generation.num_beams > 1 else {}
        output = self.model.generate(
            **inputs, max_new_tokens=generation.max_new_tokens, num_beams=generation.num_beams, **beams
        )
        return str(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


@functools.cache
def by_hand(family: str, layout: str) -> ByHand:
    return ByHand(family, layout)


@families
@layouts
@paths
def test_likelihoods_equal_transformers_by_hand(
    family: str, layout: str, path: str, asked: tuple[list[Prompt], list[str]]
) -> None:
    expected = [by_hand(family, layout).logprob(*pair) for pair in zip(*asked, strict=True)]
    found = load(family, layout, path).answer_likelihoods(*asked)
    assert [likelihood.logprob for likelihood in found] == pytest.approx(expected, rel=1e-6, abs=1e-5)  # float32
    tokenizer = by_hand(family, layout).processor.tokenizer
    counts = [len(tokenizer(answer, add_special_tokens=False)["input_ids"]) for answer in asked[1]]
    assert [likelihood.tokens for likelihood in found] == counts


@families
@layouts
@paths
@pytest.mark.parametrize("generation", [GREEDY, BEAMS], ids=["greedy", "beams"])
def test_answers_equal_transformers_by_hand(
    family: str, layout: str, path: str, generation: Generation, asked: tuple[list[Prompt], list[str]]
) -> None:
    # The folder's generation_config samples at temperature 5 and penalizes repetition: none of it may apply.
    expected = [by_hand(family, layout).answer(prompt, generation) for prompt in asked[0]]
    assert load(family, layout, path, generation).generate(asked[0]) == expected


@families
@paths
def test_beams_keep_to_their_own_prompt(family: str, path: str, tmp_path: Path) -> None:
    """Prompts of one length in one batch: transformers repeats each one's image features for its beams."""
    pictures = [picture for index, picture in enumerate(write_images(tmp_path, 12)) if index % 3 != 2]
    prompts = [Prompt((), picture, "which?") for picture in pictures]
    by_hand_answers = [by_hand(family, "turns").answer(prompt, BEAMS) for prompt in prompts]
    assert len(set(by_hand_answers)) > 1
    assert load(family, "turns", path, BEAMS, batch_size=8).generate(prompts) == by_hand_answers


@families
@paths
def test_a_batch_equals_one_by_one(family: str, path: str, asked: tuple[list[Prompt], list[str]]) -> None:
    prompts, answers = asked
    together, alone = load(family, "turns", path), load(family, "turns", path, batch_size=1)
    assert together.generate(prompts) == alone.generate(prompts)
    singly, batched = alone.answer_likelihoods(*asked), together.answer_likelihoods(*asked)
    backwards = together.answer_likelihoods(prompts[::-1], answers[::-1])[::-1]
    if path == "kept features":  # the same bits in every batch: a resumed run equals an uninterrupted one
        many = [(prompt, answer) for prompt in prompts for answer in answers]
        mixed = dict(zip(many, together.answer_likelihoods(*zip(*many, strict=True)), strict=True))
        assert [mixed[pair] for pair in zip(*asked, strict=True)] == batched == backwards == singly
    for found in (batched, backwards):
        assert [b.logprob for b in found] == pytest.approx([s.logprob for s in singly], abs=1e-5)


@families
@layouts
def test_it_matters_which_image_is_where(family: str, layout: str, asked: tuple[list[Prompt], list[str]]) -> None:
    # The first two prompts differ only in the order of their demonstrations' images.
    first, swapped = load(family, layout, "kept features").answer_likelihoods(*(part[:2] for part in asked))
    assert abs(first.logprob - swapped.logprob) > 1e-3


@families
def test_text_that_poses_as_an_image_is_refused(family: str, asked: tuple[list[Prompt], list[str]]) -> None:
    token = load_processor(FAMILIES[family]()).image_token
    with pytest.raises(UserError, match="image token"):
        load(family, "turns", "plain path").generate([Prompt((), asked[0][0].image, f"which {token}?")])


def warnings_of(caplog: pytest.LogCaptureFixture) -> Sequence[str]:
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


@families
@layouts
def test_a_template_that_moves_images_away_from_their_questions_is_told(
    family: str, layout: str, caplog: pytest.LogCaptureFixture
) -> None:
    load.__wrapped__(family, layout, "plain path")
    moved = family == "llava_onevision" and layout == "interleaved"
    assert ["layout 'turns'" in text for text in warnings_of(caplog)] == [True] * moved
