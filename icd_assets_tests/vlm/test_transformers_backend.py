"""The backend against transformers called by hand, one prompt at a time."""

from __future__ import annotations

import logging
import random
import shutil
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, GenerationConfig

from icd_assets.errors import UserError
from icd_assets.runtime.threads import one_thread
from icd_assets.vlm import transformers_backend
from icd_assets.vlm.backend import Generation, Question
from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
from icd_assets.vlm.images import read_image
from icd_assets.vlm.plain_path import PlainPath
from icd_assets.vlm.processor import load_processor
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot, messages
from icd_assets.vlm.transformers_backend import TransformersBackend
from icd_assets_tests.worlds.tiny import tiny_qwen2_vl, tiny_vl, write_images

pytestmark = pytest.mark.slow

STYLES = {
    "turns": PromptStyle(layout="turns", question="{question}"),
    "interleaved": PromptStyle(system="answer the question"),
}
GREEDY = Generation(max_new_tokens=3, num_beams=1)
QUESTIONS = ["what sound does it make?", "which shape is this?", "what color is the circle?", "which?"]
ANSWERS = ["buzz", "red dog", "xyzzy 17", "dog"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_images(tmp_path_factory.mktemp("images"), 9)


@pytest.fixture(scope="module")
def asked(images: list[Path]) -> tuple[list[Prompt], list[str]]:
    rng = random.Random(0)

    def prompt() -> Prompt:
        shots = tuple(
            Shot(rng.choice(images), rng.choice(QUESTIONS), rng.choice(ANSWERS)) for _ in range(rng.randrange(3))
        )
        return Prompt(shots, rng.choice(images), rng.choice(QUESTIONS))

    prompts = [prompt() for _ in range(10)]
    return prompts, [rng.choice(ANSWERS) for _ in prompts]


def load(
    folder: Path, *, style: PromptStyle = STYLES["turns"], generation: Generation = GREEDY, **options: Any
) -> TransformersBackend:
    return TransformersBackend.load(
        str(folder), digest="of the files", style=style, generation=generation, **{"batch_size": 5} | options
    )


class ByHand:
    """transformers without anything of ours but the messages."""

    def __init__(self, folder: Path, style: PromptStyle) -> None:
        self.model = AutoModelForImageTextToText.from_pretrained(folder).eval()
        self.processor = load_processor(folder)
        self.style = style

    def inputs(self, prompt: Prompt, answer: str = "") -> Any:
        text = self.processor.apply_chat_template(
            messages(prompt, self.style), add_generation_prompt=True, tokenize=False
        )
        pictures = [read_image(path) for path in prompt.images]
        return self.processor(text=[text + answer], images=pictures, return_tensors="pt")

    @torch.no_grad()
    def logprob(self, prompt: Prompt, answer: str) -> float:
        full = self.inputs(prompt, answer)
        start = self.inputs(prompt)["input_ids"].shape[1]
        logits = self.model(**full).logits[0].log_softmax(-1)
        ids = full["input_ids"][0]
        return sum(float(logits[p - 1, ids[p]]) for p in range(start, len(ids)))

    @torch.no_grad()
    def answer(self, prompt: Prompt, generation: Generation) -> str:
        inputs = self.inputs(prompt)
        ends = self.model.config.text_config.eos_token_id
        self.model.generation_config = GenerationConfig(
            eos_token_id=ends, pad_token_id=self.processor.tokenizer.pad_token_id
        )
        beams = {"length_penalty": generation.length_penalty} if generation.num_beams > 1 else {}
        output = self.model.generate(
            **inputs, max_new_tokens=generation.max_new_tokens, num_beams=generation.num_beams, **beams
        )
        new = output[0, inputs["input_ids"].shape[1] :]
        return str(self.processor.tokenizer.decode(new, skip_special_tokens=True))


@pytest.mark.parametrize("build", [tiny_vl, tiny_qwen2_vl])
@pytest.mark.parametrize("layout", STYLES)
@pytest.mark.parametrize("feature_bytes", [1 << 20, 0], ids=["kept features", "plain path"])
def test_both_paths_equal_transformers_by_hand(
    build: Any, layout: str, feature_bytes: int, asked: tuple[list[Prompt], list[str]]
) -> None:
    prompts, answers = asked
    folder = build()
    backend = load(folder, style=STYLES[layout], feature_bytes=feature_bytes)
    by_hand = ByHand(folder, STYLES[layout])
    likelihoods = backend.answer_likelihoods(prompts, answers)
    expected = [by_hand.logprob(*pair) for pair in zip(prompts, answers, strict=True)]
    assert [found.logprob for found in likelihoods] == pytest.approx(expected, abs=1e-4)
    tokenizer = by_hand.processor.tokenizer
    assert [found.tokens for found in likelihoods] == [len(tokenizer(answer)["input_ids"]) for answer in answers]
    assert backend.generate(prompts) == [by_hand.answer(prompt, GREEDY) for prompt in prompts]


def test_beam_search_equals_transformers_by_hand(asked: tuple[list[Prompt], list[str]]) -> None:
    prompts = asked[0][:5]
    generation = Generation(max_new_tokens=4, num_beams=3, length_penalty=0.0)
    by_hand = ByHand(tiny_vl(), STYLES["turns"])
    expected = [by_hand.answer(prompt, generation) for prompt in prompts]
    assert load(tiny_vl(), generation=generation).generate(prompts) == expected
    assert load(tiny_vl(), generation=generation, feature_bytes=0).generate(prompts) == expected


def test_a_likelihood_has_the_same_bits_in_every_batch(asked: tuple[list[Prompt], list[str]]) -> None:
    prompts, answers = asked
    together = load(tiny_vl(), batch_size=64).answer_likelihoods(prompts, answers)
    backend = load(tiny_vl(), batch_size=3)
    assert backend.answer_likelihoods(prompts[::-1], answers[::-1]) == together[::-1]
    alone = [backend.answer_likelihoods([p], [a])[0] for p, a in zip(prompts, answers, strict=True)]
    assert alone == together


def test_a_killed_run_loses_one_batch_and_computes_the_same_batches_of_the_rest(
    asked: tuple[list[Prompt], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the plain path a result's last bits depend on its batch: other batches would be other bytes."""
    monkeypatch.setattr(transformers_backend, "SMALL_MODEL", 0)  # of a small one several are under way
    prompts, answers = asked
    batches: list[list[str]] = []
    compute = PlainPath._scored

    def recorded(self: PlainPath, jobs: Any, asked: Any) -> Any:
        batches.append([job.row.text for job in jobs])
        return compute(self, jobs, asked)

    monkeypatch.setattr(PlainPath, "_scored", recorded)
    backend = load(tiny_vl(), batch_size=3, feature_bytes=0)
    expected, whole = backend.answer_likelihoods(prompts, answers), batches[:]
    batches.clear()

    def kill(done: int, total: int) -> None:
        if len(batches) == 2:
            raise KeyboardInterrupt

    with AnswerStore(tmp_path / "a.sqlite") as store:
        with pytest.raises(KeyboardInterrupt):
            CachedBackend(backend, store).answer_likelihoods(prompts, answers, kill)
        assert CachedBackend(backend, store).answer_likelihoods(prompts, answers) == expected
    assert batches == whole
    assert len(whole) == 4


def test_features_that_do_not_fit_are_computed_again(asked: tuple[list[Prompt], list[str]]) -> None:
    prompts, answers = asked
    kept, starved = load(tiny_vl()), load(tiny_vl(), feature_bytes=4000)
    assert starved.answer_likelihoods(prompts, answers) == kept.answer_likelihoods(prompts, answers)
    assert starved._inputs._features._cache.size <= 4000  # type: ignore[attr-defined]


def test_features_that_memory_has_no_room_for_come_back_from_disk(
    asked: tuple[list[Prompt], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each picture goes through the tower once, however little memory there is for what it made."""
    prompts, answers = asked
    expected = load(tiny_vl()).answer_likelihoods(prompts, answers)
    starved = load(tiny_vl(), feature_bytes=1)
    fed = Fed(starved, monkeypatch, filled=True)
    assert starved.answer_likelihoods(prompts, answers) == expected
    assert starved.answer_likelihoods(prompts[::-1], answers[::-1]) == expected[::-1]
    assert fed.images == len({image for prompt in prompts for image in prompt.images})


def test_features_that_the_disk_has_no_room_for_are_computed_again(
    asked: tuple[list[Prompt], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, answers = asked
    expected = load(tiny_vl()).answer_likelihoods(prompts, answers)
    starved = load(tiny_vl(), feature_bytes=1)
    monkeypatch.setattr(starved._inputs._features._spill, "_limit", 0)  # type: ignore[union-attr]
    fed = Fed(starved, monkeypatch, filled=True)
    assert starved.answer_likelihoods(prompts, answers) == expected
    assert fed.images > len({image for prompt in prompts for image in prompt.images})


@pytest.mark.parametrize("family", [tiny_vl, tiny_qwen2_vl])
def test_the_next_to_load_the_model_finds_its_pictures(
    asked: tuple[list[Prompt], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    family: Callable[[], Path],
) -> None:
    prompts, answers = asked
    first = load(family(), pictures=tmp_path)
    expected = first.answer_likelihoods(prompts, answers)
    assert expected == load(family()).answer_likelihoods(prompts, answers)
    for feature_bytes in (1 << 30, 1):
        later = load(family(), pictures=tmp_path, feature_bytes=feature_bytes)
        fed = Fed(later, monkeypatch, filled=True)
        assert later.answer_likelihoods(prompts, answers) == expected
        assert fed.images == 0
    for path in tmp_path.glob("*/*"):
        path.write_bytes(b"damaged")
    again = load(family(), pictures=tmp_path)
    fed = Fed(again, monkeypatch, filled=True)
    assert again.answer_likelihoods(prompts, answers) == expected
    assert fed.images == len({image for prompt in prompts for image in prompt.images})
    other = load(family(), pictures=tmp_path, dtype="bfloat16")
    fed = Fed(other, monkeypatch, filled=True)
    other.generate(prompts[:1])
    assert fed.images == len(set(prompts[0].images))


def test_an_answer_with_an_image_token_is_refused(images: list[Path]) -> None:
    backend = load(tiny_vl())
    answer = f"a {backend._inputs.processor.image_token}"
    with pytest.raises(UserError, match=r"the answer at the end of .* holds the model's image token; remove it"):
        backend.answer_likelihoods([Prompt((), images[0], "which?")], [answer])


def test_a_picture_that_was_replaced_is_another(images: list[Path], tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    found = []
    for image in images[:2]:
        shutil.copy(image, picture)
        backend = load(tiny_vl(), pictures=tmp_path / "kept")
        found.append(backend.answer_likelihoods([Prompt((), picture, "which?")], ["dog"]))
    assert found == [
        load(tiny_vl()).answer_likelihoods([Prompt((), one, "which?")], ["dog"]) for one in images[:2]
    ]
    assert found[0] != found[1]


def test_pictures_prepared_ahead_are_those_of_one_at_a_time(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [Prompt((), image, "which?") for image in images]
    expected = [load(tiny_vl()).answer_likelihoods([prompt], ["dog"])[0] for prompt in prompts]
    threads: set[int] = set()
    backend = load(tiny_vl())
    features = backend._inputs._features  # type: ignore[union-attr]
    prepared = features._prepared

    def seen(key: Any, image: Any) -> Any:
        threads.add(threading.get_ident())
        return prepared(key, image)

    monkeypatch.setattr(features, "_prepared", seen)
    assert backend.answer_likelihoods(prompts, ["dog"] * len(prompts)) == expected
    assert threads and threading.get_ident() not in threads
    monkeypatch.setattr("icd_assets.vlm.images._AHEAD", 1)  # each is too large to wait for its turn
    again = load(tiny_vl())
    assert again.answer_likelihoods(prompts, ["dog"] * len(prompts)) == expected
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(images[0].read_bytes()[:300])
    for ahead in (1, 1 << 24):
        monkeypatch.setattr("icd_assets.vlm.images._AHEAD", ahead)
        with pytest.raises(UserError, match=r"image .*broken\.jpg cannot be read"):
            load(tiny_vl()).generate([*prompts, Prompt((), broken, "which?"), prompts[0]])


def test_a_prompts_length_costs_no_second_pass(
    asked: tuple[list[Prompt], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    starved = load(tiny_vl(), feature_bytes=1)
    questions = [Question(prompt, "buzz") for prompt in asked[0]]
    rows = starved._asked(questions)
    monkeypatch.setattr(starved._inputs._features, "_encode_image", None)  # type: ignore[union-attr]
    assert starved._asked(questions) == rows


def test_the_hubs_sampling_settings_do_not_apply(
    asked: tuple[list[Prompt], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    backend = load(tiny_vl())  # its generation_config.json: do_sample, temperature 5, repetition_penalty 1.5
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = backend.generate(asked[0])
    assert first == backend.generate(asked[0])
    assert "generation flags" not in capfd.readouterr().err
    assert backend._model.generation_config.repetition_penalty in (None, 1.0)


class Fed:
    """What goes through a model: rows and tokens of every forward pass, and images through its vision tower."""

    def __init__(
        self, backend: TransformersBackend, monkeypatch: pytest.MonkeyPatch, *, filled: bool = False
    ) -> None:
        self.passes: list[tuple[int, int]] = []
        self.with_kept: list[tuple[int, int]] = []  # rows, tokens fed and kept before
        self.images = 0
        model = backend._model
        forward, encode = model.forward, backend._inputs._features._encode  # type: ignore[union-attr]

        def counted(*args: Any, **kwargs: Any) -> Any:
            rows, tokens = kwargs["input_ids"].shape
            self.passes.append((rows, tokens))
            self.with_kept.append((rows, tokens + kwargs["past_key_values"].get_seq_length()))
            return forward(*args, **kwargs)

        def encoded(*args: Any, **kwargs: Any) -> Any:
            self.images += 1
            return encode(*args, **kwargs)

        if not filled:  # up to which number of rows depends on the processor
            monkeypatch.setattr(backend._path, "_least", 1)
        monkeypatch.setattr(model, "forward", counted)
        monkeypatch.setattr(backend._inputs._features, "_encode", encoded)

    @property
    def tokens(self) -> int:
        return sum(rows * fed for rows, fed in self.passes)


def test_everything_asked_about_a_prompt_takes_one_pass_over_it(
    images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = Generation(max_new_tokens=2, num_beams=3, min_new_tokens=2)
    backend = load(tiny_vl(), batch_size=100, generation=generation)
    prompt = Prompt((Shot(images[1], "which?", "buzz"),), images[0], "which?")
    (asked,) = backend._asked([Question(prompt)])
    length, second = len(asked.row.ids), asked.row.spans[1][0]
    fed, found = Fed(backend, monkeypatch), dict[int, Any]()
    backend.ask([Question(prompt, answer) for answer in (None, "buzz", "dog", "red dog")], found.update)
    width = backend._inputs.width  # type: ignore[union-attr]
    # Up to the second image, up to the last eight tokens; those with three beams, and then one token of each;
    # those with nothing behind them for two answers of one token, and with one token for the one of two.
    first, rest = (1, width(second)), (1, width(length - 8 - second))
    assert sorted(fed.passes) == sorted([first, rest, (3, 8), (3, 1), (1, 8), (1, 12)])
    assert fed.images == 0  # `_asked` has encoded them
    assert len({found[at].logprob for at in (1, 2, 3)}) == 3
    assert isinstance(found[0], str)


def test_prompts_that_begin_alike_share_their_demonstrations(
    images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load(tiny_vl(), batch_size=100)
    first, second = Shot(images[0], "which?", "buzz"), Shot(images[1], "which?", "dog")
    prompts = [Prompt((first, second), images[3 + at % 2], f"which{'?' * at}?") for at in range(6)]
    fed = Fed(backend, monkeypatch)
    found = backend.answer_likelihoods(prompts, ["dog"] * 6)
    assert [rows for rows, _ in fed.passes if rows < 6].count(1) == 2  # each demonstration once
    assert fed.images == 4
    tokens = fed.tokens
    assert load(tiny_vl(), batch_size=100).answer_likelihoods(prompts[:1], ["dog"]) == found[:1]
    backend.answer_likelihoods([Prompt((first, second), images[5], "new?")], ["dog"])
    assert fed.tokens - tokens < tokens / 5  # the demonstrations are still known


def test_beginnings_that_do_not_fit_are_computed_again(
    asked: tuple[list[Prompt], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, starved = load(tiny_vl()), load(tiny_vl(), state_bytes=1)
    expected = kept.answer_likelihoods(*asked)
    assert starved.answer_likelihoods(*asked) == expected == kept.answer_likelihoods(*asked)
    assert starved._path._states._shared.size <= 1  # type: ignore[union-attr]


def test_progress_reaches_the_total(asked: tuple[list[Prompt], list[str]]) -> None:
    prompts, answers = asked
    seen: list[tuple[int, int]] = []
    load(tiny_vl()).answer_likelihoods(prompts, answers, lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (len(prompts), len(prompts))


def test_no_prompts_no_answers() -> None:
    backend = load(tiny_vl())
    assert backend.generate([]) == []
    assert backend.answer_likelihoods([], []) == []


def test_out_of_memory_halves_the_batch_and_goes_on(
    images: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(transformers_backend, "SMALL_MODEL", 0)  # as no small one is on a GPU
    prompts = [Prompt((), images[index], "which?") for index in (0, 1, 3, 4, 6, 7)]  # all of one width
    answers = ["dog"] * len(prompts)
    expected = load(tiny_vl(), batch_size=1).answer_likelihoods(prompts, answers)
    backend = load(tiny_vl(), batch_size=16)
    forward = backend._model.forward
    sizes: list[int] = []

    def small_gpu(*args: Any, **kwargs: Any) -> Any:
        sizes.append(len(kwargs["input_ids"]))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError
        return forward(*args, **kwargs)

    monkeypatch.setattr(backend._model, "forward", small_gpu)
    with caplog.at_level(logging.WARNING):
        assert backend.answer_likelihoods(prompts, answers) == expected
    # The prompts, then their ends, which have more tokens each.
    assert sizes == [6, 3, 3, 2, 2, 2]
    assert "out of GPU memory: a batch now has" in caplog.text


@pytest.mark.parametrize("family", [tiny_vl, tiny_qwen2_vl])
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "of several widths"])
@pytest.mark.parametrize("tokens", [0, 600, 1500, 100_000])
def test_a_batch_has_no_more_tokens_than_fit(
    family: Any, tokens: int, exact: bool, asked: tuple[list[Prompt], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = Generation(max_new_tokens=3, num_beams=3, length_penalty=0.0)
    questions = [Question(prompt, answer) for prompt in asked[0] for answer in (None, *ANSWERS[:3])]
    expected = load(family(), generation=generation, batch_size=None).replies(questions)
    monkeypatch.setattr(transformers_backend, "SMALL_MODEL", 0)  # as no small one is on a GPU
    monkeypatch.setattr(transformers_backend, "tokens_at_once", lambda model, state_bytes: tokens)
    backend = load(family(), generation=generation, batch_size=None, exact=exact)
    fed = Fed(backend, monkeypatch)
    with one_thread():
        found = backend.replies(questions)
    if exact:
        assert found == expected
    for one, other in zip(found, expected, strict=True):
        assert one == other if isinstance(one, str) else one.logprob == pytest.approx(other.logprob, abs=1e-4)
    too_large = [rows for rows, width in fed.with_kept if rows * width > tokens]
    assert set(too_large) <= {1, 3}  # one row, with its beams
    assert bool(too_large) == (tokens < 600)
    largest = max(rows for rows, _ in fed.with_kept)
    assert (largest == 3) == (tokens == 0)
    assert exact or (largest == 30) == (tokens == 100_000)  # all prompts, each with its beams


def test_rows_that_are_set_go_before_the_tokens_that_fit(
    asked: tuple[list[Prompt], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers_backend, "SMALL_MODEL", 0)
    monkeypatch.setattr(transformers_backend, "tokens_at_once", lambda model, state_bytes: 1)
    backend = load(tiny_vl(), batch_size=4, exact=False)
    fed = Fed(backend, monkeypatch)
    backend.answer_likelihoods(*asked)
    assert max(rows for rows, _ in fed.passes) == 4


@pytest.mark.parametrize("beams", [1, 3])
def test_a_model_whose_scores_are_no_numbers_is_told(images: list[Path], beams: int) -> None:
    """An answer store must not keep what such a model says."""
    backend = load(tiny_vl(), generation=Generation(max_new_tokens=3, num_beams=beams))
    with torch.no_grad():
        backend._model.get_output_embeddings().weight[7] = float("nan")
    prompts = [Prompt((), images[0], "which?")]
    heard: list[Any] = []
    with pytest.raises(UserError, match="no numbers"):
        backend.ask([Question(prompt) for prompt in prompts], heard.append)
    with pytest.raises(UserError, match="no numbers"):
        backend.ask([Question(prompt, "dog") for prompt in prompts], heard.append)
    assert heard == []


def test_a_prompt_too_large_for_the_gpu_is_told(images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_backend, "SMALL_MODEL", 0)
    backend = load(tiny_vl())

    def no_gpu(*args: Any, **kwargs: Any) -> Any:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(backend._model, "forward", no_gpu)
    with pytest.raises(UserError, match="max_pixels"):
        backend.answer_likelihoods([Prompt((), images[0], "which?")], ["dog"])


@pytest.mark.parametrize("method", ["generate", "answer_likelihoods"])
@pytest.mark.parametrize("feature_bytes", [1 << 20, 0])
def test_a_broken_image_is_named(tmp_path: Path, method: str, feature_bytes: int) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    prompts: Sequence[Prompt] = [Prompt((), tmp_path / "broken.jpg", "which?")]
    arguments = [prompts] if method == "generate" else [prompts, ["dog"]]
    with pytest.raises(UserError, match=r"broken\.jpg"):
        getattr(load(tiny_vl(), feature_bytes=feature_bytes), method)(*arguments)


def test_text_that_poses_as_an_image_is_refused(images: list[Path]) -> None:
    with pytest.raises(UserError, match="image token"):
        load(tiny_vl()).generate([Prompt((), images[0], "which <|image_pad|>?")])


def test_an_answer_without_tokens_is_refused(images: list[Path]) -> None:
    with pytest.raises(UserError, match="no tokens"):
        load(tiny_vl()).answer_likelihoods([Prompt((), images[0], "which?")], [""])


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty"):
        load(tmp_path / "empty")


def test_a_hub_id_at_a_revision(
    tmp_path: Path, asked: tuple[list[Prompt], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = {"a" * 40: tiny_vl(), "b" * 40: tiny_vl(seed=1)}
    snapshots = tmp_path / "models--org--name" / "snapshots"
    for commit, folder in commits.items():
        shutil.copytree(folder, snapshots / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = {commit: load(Path("org/name"), revision=commit).answer_likelihoods(*asked) for commit in commits}
    assert found["a" * 40] != found["b" * 40]
    assert found == {commit: load(folder).answer_likelihoods(*asked) for commit, folder in commits.items()}


def test_weights_with_a_hole_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_vl(), tmp_path / "holed"))
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in sorted(tensors) if "mlp" in name)
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="mlp"):
        load(folder)
    (folder / "model.safetensors").write_bytes(b"\0" * 40)
    with pytest.raises(UserError, match=r"model\.safetensors is no safetensors file"):
        load(folder)


def test_the_digest_tells_what_changes_an_answer_apart() -> None:
    plain = load(tiny_vl())
    assert plain.digest == load(tiny_vl(), batch_size=2).digest
    assert plain.digest != load(tiny_vl(), max_pixels=56 * 56).digest
    assert plain.digest != load(tiny_vl(), dtype="bfloat16").digest
