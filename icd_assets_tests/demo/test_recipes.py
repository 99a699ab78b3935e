"""The recipes run, repeat themselves bit for bit, and see what transformers itself sees."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from icd_assets.demo import tiny_clip, tiny_vl
from icd_assets.demo.bank import Bank
from icd_assets.demo.clip_recipe import ClipRecipe, train_clip
from icd_assets.demo.episodes import (
    EpisodeBatch,
    TurnLayout,
    one_relevant_episode,
    training_episode,
    two_word_episode,
)
from icd_assets.demo.pieces import clip_tokenizer, qwen_tokenizer, words
from icd_assets.demo.vlm_losses import attention_loss
from icd_assets.demo.vlm_recipe import VlmRecipe, train_vlm
from icd_assets.demo.world import COLOR_NAMES, COLORS, LORE, SHAPES, TWO_WORD, Wording, all_wordings
from icd_assets.runtime.seeding import python_rng
from icd_assets.runtime.threads import one_thread

pytestmark = pytest.mark.slow

VLM = VlmRecipe(bank=60, vision_steps=2, vision_batch=8, steps=2, batch=2)
CLIP = ClipRecipe(bank=60, vision_steps=2, vision_batch=8, steps=2, batch=8)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_vlm_recipe_repeats_itself() -> None:
    torch.manual_seed(1)
    with one_thread():  # gradients of indexed rows are added up in the order in which threads arrive
        first = weights(train_vlm(VLM, seed=3))
        before = torch.random.get_rng_state()
        assert same(first, weights(train_vlm(VLM, seed=3)))
        assert torch.equal(before, torch.random.get_rng_state()), "the global generator is not ours to move"
        assert not same(first, weights(train_vlm(VLM, seed=4)))


def test_clip_recipe_repeats_itself() -> None:
    with one_thread():
        first = weights(train_clip(CLIP, seed=3))
        assert same(first, weights(train_clip(CLIP, seed=3)))
        assert not same(first, weights(train_clip(CLIP, seed=4)))


def test_progress_counts_all_steps() -> None:
    seen: list[tuple[int, int]] = []
    train_clip(CLIP, 0, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_every_word_is_one_token_and_any_text_survives() -> None:
    qwen, clip = qwen_tokenizer(), clip_tokenizer()
    for word in words():
        for tokenizer, text in ((qwen, word), (qwen, f" {word}"), (clip, word)):
            assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) == 1, (tokenizer, text)
    assert qwen.decode(qwen("Größe 北京 x?")["input_ids"]) == "Größe 北京 x?"
    assert max(len(clip(wording.text)["input_ids"]) for wording in all_wordings()) <= clip.model_max_length


@pytest.fixture(scope="module")
def model() -> Any:
    return train_vlm(VLM, seed=0)


@pytest.mark.parametrize("two_word", [False, True])
def test_batched_pass_equals_transformers(model: Any, two_word: bool) -> None:
    """Tokens, 3-D positions, vision tower and logits are those of the chat template and the model itself."""
    tokenizer = qwen_tokenizer()
    layout = TurnLayout(tokenizer)
    bank, rng = Bank.draw(tiny_vl.to_patches, 60, 0, "test"), python_rng(0, "test")
    turns = two_word_episode(bank, ("shape", "color"), rng) if two_word else one_relevant_episode(bank, 2, rng)
    batch = layout.batch([turns])

    messages: list[dict[str, Any]] = []
    for turn in turns:
        question = [{"type": "image"}, {"type": "text", "text": turn.question}]
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": turn.answer}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    ids = tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * 4), return_tensors="pt")["input_ids"]
    assert torch.equal(ids, batch.ids)

    grid = torch.tensor([[1, 4, 4]] * 3)
    kinds = (ids == model.config.image_token_id).int()
    positions, _ = model.model.get_rope_index(ids, image_grid_thw=grid, mm_token_type_ids=kinds)
    assert torch.equal(positions, batch.positions)

    with torch.no_grad():
        patches = bank.pixels[batch.images.flatten()].float().view(3, 16, 3, 1, 196)
        both_frames = patches.expand(-1, -1, -1, 2, -1).reshape(48, 1176)
        expected = model(
            input_ids=ids, pixel_values=both_frames, image_grid_thw=grid, mm_token_type_ids=kinds
        ).logits
        reading = tiny_vl.read(model, batch, bank)
        words, ends = reading.words(model, batch), reading.ends(model, batch)
    torch.testing.assert_close(words, expected[0, batch.asks], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ends[0], expected[0, batch.ends[0]], atol=1e-4, rtol=1e-4)
    said = tokenizer.batch_decode(batch.targets()[:, None])
    assert "".join(said) == "".join(turn.answer for turn in turns)
    assert tokenizer.batch_decode(ids[0, batch.ends[0] + 1, None]) == ["<|im_end|>"] * 3


def test_attention_target_is_lower_when_copies_are_seen(model: Any) -> None:
    """Zero where no key repeats; and its gradient step makes it smaller."""
    bank = Bank.draw(tiny_vl.to_patches, 60, 0, "test")
    layout, rng = TurnLayout(qwen_tokenizer()), python_rng(0, "test")
    one_turn = layout.batch([training_episode(bank, 1, rng)])
    reading = tiny_vl.read(model, one_turn, bank)
    assert attention_loss(model, one_turn, reading.first).item() == 0

    batch = layout.batch(
        [one_relevant_episode(bank, 2, rng) for _ in range(3)] + [two_word_episode(bank, ("both", "none"), rng)]
    )
    assert batch.same_key_before()[batch.turns == 2].any(-1).all()
    layer = model.model.language_model.layers[1].self_attn
    before = attention_loss(model, batch, tiny_vl.read(model, batch, bank).first)
    gradient = torch.autograd.grad(before, layer.q_proj.weight)[0]
    kept = layer.q_proj.weight.detach().clone()
    with torch.no_grad():
        layer.q_proj.weight -= 0.01 * gradient / gradient.norm()
        after = attention_loss(model, batch, tiny_vl.read(model, batch, bank).first)
        layer.q_proj.weight.copy_(kept)
    assert 0 < after < before


def test_episodes_are_answerable_and_redraw_their_knowledge() -> None:
    bank = Bank.draw(tiny_vl.to_patches, 60, 0, "test")
    rng = python_rng(0, "test")
    answers: dict[object, set[str]] = {}
    for _ in range(40):
        turns = one_relevant_episode(bank, 3, rng)
        query = turns[-1]
        assert query.kind in LORE
        assert query.answer in {turn.answer for turn in turns[:-1] if turn.keys == query.keys}
        answers.setdefault(query.keys, set()).add(query.answer)
    assert max(map(len, answers.values())) > 1
    for _ in range(40):
        for turn in training_episode(bank, 5, rng):
            scene = bank.scenes[turn.image]
            assert (scene.shape, scene.color) == (turn.shape, turn.color)
            if turn.kind == "color":
                assert turn.answer == COLOR_NAMES[scene.color]


def test_two_word_episodes_show_what_they_say() -> None:
    bank, rng = Bank.draw(tiny_vl.to_patches, 600, 0, "test"), python_rng(0, "test")
    kinds = set()
    for _ in range(40):
        *shown, query = two_word_episode(bank, ("shape", "color", "both", "none"), rng)
        first, second = query.answer.split()
        alike = sorted((turn.shape == query.shape, turn.color == query.color) for turn in shown)
        assert alike == [(False, False), (False, True), (True, False), (True, True)]
        for turn in shown:
            assert turn.kind == query.kind
            assert (turn.answer.split()[0] == first) == (turn.shape == query.shape)
            assert (turn.answer.split()[1] == second) == (turn.color == query.color)
        kinds.add(query.kind)
    assert kinds == set(TWO_WORD)


def test_words_know_which_earlier_words_have_their_key() -> None:
    """The first word of a two-word answer is shown by the shape, the second by the color, of one kind only."""
    bank, rng = Bank.draw(tiny_vl.to_patches, 600, 0, "test"), python_rng(1, "test")
    layout = TurnLayout(qwen_tokenizer())

    def shown(*alike: str) -> list[list[bool]]:
        batch: EpisodeBatch = layout.batch([two_word_episode(bank, alike, rng)] * 2)
        same = batch.same_key_before()
        assert batch.is_lore().all()
        assert not (same & (batch.rows[:, None] != batch.rows)).any(), "another episode has other knowledge"
        return same[(batch.turns == len(alike)) & (batch.rows == 1)][:, batch.rows == 1].tolist()

    nothing = [False] * 4
    assert shown("shape") == [[True, False, False, False], nothing]
    assert shown("color") == [nothing, [False, True, False, False]]
    assert shown("both") == [[True, False, False, False], [False, True, False, False]]
    assert shown("none") == [nothing, nothing]


def test_a_bank_finds_pictures_by_look() -> None:
    bank = Bank.draw(tiny_vl.to_patches, 120, 0, "test")
    for shape in range(len(SHAPES)):
        alike = set(bank.indices_of(shape))
        assert alike == {index for index, scene in enumerate(bank.scenes) if scene.shape == shape}
        for color in range(len(COLORS)):
            both = {index for index in alike if bank.scenes[index].color == color}
            assert set(bank.indices_of(shape, color)) == (both or alike)


def test_similarity_target() -> None:
    features = tiny_clip.wording_features([Wording("sound", 0, 0), Wording("sound", 0, 1), Wording("food", 0, 0)])
    shares = tiny_clip.similarity(features, tiny_clip.WORDING_WEIGHTS)
    torch.testing.assert_close(shares, torch.tensor([[1.0, 0.75, 0.5], [0.75, 1.0, 0.5], [0.5, 0.5, 1.0]]))
    assert sum(tiny_clip.PICTURE_WEIGHTS.values()) == pytest.approx(1)
    assert sum(tiny_clip.WORDING_WEIGHTS.values()) == pytest.approx(1)
