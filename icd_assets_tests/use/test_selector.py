"""A trained selector in one's own code: every file it comes in, pictures or vectors, and what cannot be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

import icd_assets
from icd_assets.errors import UserError
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.decoding import greedy
from icd_assets.selector.encoder import ClipEncoder
from icd_assets.selector.model import new_policy
from icd_assets.selector.selector_file import EncoderName, write_selector
from icd_assets.selector.v2_file import V2Checkpoint, write_v2, write_v2format
from icd_assets.selector.v3_file import V3Checkpoint, write_v3
from icd_assets.use.selector import Selector
from icd_assets.vlm.prompts import Shot
from icd_assets_tests.worlds.tiny import tiny_clip, write_images

V2 = SelectorConfig(embedding_dim=24, hidden_dim=16, architecture="v2")
COMMIT = "0" * 39 + "1"
QUESTIONS = ("what shape is this", "which color", "the circle ?")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Shot]:
    images = write_images(tmp_path_factory.mktemp("pictures"), 12)
    return [Shot(image, QUESTIONS[at % 3], f"answer {at}") for at, image in enumerate(images)]


@pytest.fixture(scope="module")
def encoder() -> ClipEncoder:
    return ClipEncoder.load(str(tiny_clip()))


def policy(**changes: Any) -> Any:
    return new_policy(V2.model_copy(update=changes), 5).eval()


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(count, 24, generator=torch.Generator().manual_seed(seed)), dim=-1)


def as_folder(path: Path, encoder: ClipEncoder, named: EncoderName | None = None) -> Path:
    write_selector(
        path / "own", policy(), stage="singles", encoder_digest=encoder.digest, lineage={}, encoder=named
    )
    return path / "own"


def as_v2(path: Path, encoder: ClipEncoder) -> Path:
    write_v2(path / "selector.ckpt", V2Checkpoint(policy().state_dict(), encoder.state_dict()))
    return path / "selector.ckpt"


def as_epoch(path: Path, encoder: ClipEncoder) -> Path:
    write_v3(path / "rce_epoch2.pt", V3Checkpoint(1, "rce", policy().state_dict(), 0.1, {}))
    return path / "rce_epoch2.pt"


def as_v2format(path: Path, encoder: ClipEncoder) -> Path:
    checkpoint = V3Checkpoint(1, "rce", policy().state_dict(), 0.1, {})
    write_v2format(path / "rce_epoch2_v2format.ckpt", checkpoint, lineage={})
    return path / "rce_epoch2_v2format.ckpt"


@pytest.mark.parametrize("written", [as_folder, as_v2, as_epoch, as_v2format])
def test_every_file_of_one_selector_chooses_alike(
    written: Callable[[Path, ClipEncoder], Path], tmp_path: Path, encoder: ClipEncoder, examples: list[Shot]
) -> None:
    file = written(tmp_path, encoder)
    query, *candidates = examples
    seen, offered = encoder.encode([query]), encoder.encode(candidates)  # type: ignore[arg-type,list-item]
    expected = tuple(greedy(policy(), seen, offered[None], 3)[0].tolist())
    selector = Selector.load(file, encoder=tiny_clip())
    assert selector.select(query, candidates, shots=3) == expected
    assert Selector.load(str(file)).select(seen[0], offered, shots=3) == expected  # no encoder for vectors


def test_public_names_are_the_packages_own() -> None:
    assert icd_assets.Selector is Selector
    assert {"Selector", "chat"} <= set(icd_assets.__all__)


def test_another_encoder_is_refused(tmp_path: Path, encoder: ClipEncoder) -> None:
    with pytest.raises(UserError, match="was trained on embeddings of another encoder than"):
        Selector.load(as_folder(tmp_path, encoder), encoder=tiny_clip(1))


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], None]:
    """Give an encoder of the catalog a folder."""

    def named(name: str, folder: Path) -> None:
        (tmp_path / "catalog.yaml").write_text(f"encoders: {{{name}: {{path: {folder}}}}}\n")
        monkeypatch.setenv("ICD_CATALOG", str(tmp_path / "catalog.yaml"))

    return named


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], None]:
    """Put a folder into a hub cache of the test's own, at the commit ``COMMIT``, as ``main``."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(name: str, folder: Path) -> None:
        repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        shutil.copytree(folder, repository / "snapshots" / COMMIT)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(COMMIT)

    return put


def test_a_folder_names_its_encoder(
    tmp_path: Path,
    encoder: ClipEncoder,
    examples: list[Shot],
    catalog: Callable[[str, Path], None],
    hub: Callable[[str, Path], None],
) -> None:
    query, *candidates = examples
    expected = Selector.load(as_folder(tmp_path, encoder), encoder=tiny_clip()).select(query, candidates)

    def named(**fields: str) -> Selector:
        return Selector.load(as_folder(tmp_path, encoder, EncoderName(**fields)))

    hub("clips/tiny", tiny_clip())
    assert named(name="ours", path="clips/tiny").select(query, candidates) == expected
    assert named(name="ours", path="clips/tiny", revision=COMMIT).select(query, candidates) == expected
    catalog("ours", tiny_clip())
    assert (
        named(name="ours", path="nobody/has-it").select(query, candidates) == expected
    )  # the catalog comes first
    catalog("ours", tiny_clip(1))
    selector = named(name="ours")
    assert len(selector.select(vectors(1)[0], vectors(5))) == 2  # vectors open no encoder
    with pytest.raises(UserError, match="of another encoder than the given one, which was called 'ours'"):
        selector.select(query, candidates)
    with pytest.raises(UserError, match="the encoder 'another', which is not in the catalog"):
        named(name="another").select(query, candidates)


def test_an_id_of_the_hub(
    tmp_path: Path, encoder: ClipEncoder, monkeypatch: pytest.MonkeyPatch, hub: Callable[[str, Path], None]
) -> None:
    folder = as_folder(tmp_path, encoder)
    expected = Selector.load(folder).select(vectors(1)[0], vectors(9), 3)
    hub("somebody/selector", folder)
    for revision in (None, "main", COMMIT):
        loaded = Selector.load("somebody/selector", revision=revision)
        assert loaded.select(vectors(1)[0], vectors(9), 3) == expected
    with pytest.raises(UserError, match="hf download somebody/selector --revision v9"):
        Selector.load("somebody/selector", revision="v9")
    with pytest.raises(UserError, match="nor a selector in the hub's cache, and the hub cannot be reached"):
        Selector.load("nobody/has-this-selector")
    with pytest.raises(UserError, match="lies on this machine and has no revision 'main'"):
        Selector.load(folder, revision="main")


@pytest.mark.parametrize(
    "source",
    [
        "https://huggingface.co/somebody/selector",
        "../somewhere/else",
        "a/b/c",
        "/nowhere/at/all",
        "somebody/..",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_id_is_one_sentence(source: str) -> None:
    with pytest.raises(UserError, match="is neither a file or folder here nor a hub id such as user/name"):
        Selector.load(source)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("~nobody-at-all/selector", "this machine knows no home folder of '~nobody-at-all'"),
        ("a\nb/c", "which no path of ours may"),
        ("x" * 5000 + "/", "a path of 5,001 bytes; at most 4,000 are taken"),
        ("nul\0byte/name", "which no path of ours may"),
    ],
)
def test_what_is_no_path_either_is_one_sentence(source: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Selector.load(source)


@pytest.mark.parametrize(
    ("query", "candidates", "shots", "said"),
    [
        (vectors(1)[0], vectors(4), 5, "5 demonstrations cannot be chosen from 4 candidates"),
        (vectors(1)[0], vectors(4), 0, "0 demonstrations cannot be chosen"),
        (vectors(1), vectors(4), 2, r"the query is \[1, 24\]; give one vector \[24\]"),
        (vectors(1)[0], vectors(4)[:, :7], 2, r"the vectors of the candidates are \[4, 7\]"),
        (vectors(1)[0, :3], vectors(4), 2, r"the vectors of the query are \[1, 3\]"),
        (vectors(1)[0] * torch.nan, vectors(4), 2, "the vectors of the query hold what is no finite number"),
        (vectors(1)[0], vectors(4) / 0, 2, "the vectors of the candidates hold what is no finite number"),
    ],
)
def test_what_cannot_be_chosen_is_one_sentence(
    query: torch.Tensor, candidates: torch.Tensor, shots: int, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        Selector(policy()).select(query, candidates, shots)


def test_pictures_need_an_encoder(examples: list[Shot]) -> None:
    with pytest.raises(UserError, match="loaded without an encoder; load it with encoder="):
        Selector(policy()).select(examples[0], examples[1:])


@pytest.mark.parametrize("content", [b"", b"\x80\x04no pickle", b"PK\x03\x04"])
def test_a_file_that_is_none_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "selector.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"selector\.ckpt"):
        Selector.load(tmp_path / "selector.ckpt")


def test_a_library_is_embedded_once_and_kept(tmp_path: Path, encoder: ClipEncoder, examples: list[Shot]) -> None:
    selector = Selector(policy(architecture="coverage", aspects=4), encoder)
    library = selector.index(examples, pool=4)
    chosen = library.select(examples[0], 3, nearest=5, without=[0])
    assert len(set(chosen)) == 3 and 0 not in chosen
    library.save(tmp_path / "library.pt")
    again = selector.open_index(tmp_path / "library.pt", pool=4)
    assert again.select(encoder.encode(examples[:1])[0], 3, nearest=5, without=[0]) == chosen  # type: ignore[arg-type]
    everything = library.select(examples[0], 12, nearest=12)
    assert sorted(everything) == list(range(12))
    assert sorted(library.select(examples[0], 11, nearest=1, without=[7])) == [*range(7), *range(8, 12)]
    with pytest.raises(UserError, match="3 demonstrations cannot be chosen from 12 rows of the library, 10 of"):
        library.select(examples[0], 3, without=range(10))
    for row in (-1, 12):
        with pytest.raises(UserError, match=rf"row {row} is none of the library's 12 rows"):
            library.select(examples[0], 3, without=[row])
    with pytest.raises(UserError, match=r"the vectors of the query are \[1, 7\]"):
        library.select(vectors(1)[0, :7])
    with pytest.raises(UserError, match=r"the vectors of the library are \[4, 7\]"):
        selector.index(vectors(4)[:, :7])


def test_messages_for_whoever_answers(examples: list[Shot]) -> None:
    query, first, second, *_ = examples
    (user,) = icd_assets.chat(query, [first, second])
    kinds = [part["type"] for part in user["content"]]
    assert kinds == ["image", "text"] * 3
    assert user["content"][0]["image"] == str(first.image) and user["content"][4]["image"] == str(query.image)
    assert first.answer in user["content"][1]["text"] and query.answer not in user["content"][5]["text"]
    (sent,) = icd_assets.chat(query, [first, second], form="openai")
    assert [part["type"] for part in sent["content"]] == ["image_url", "text"] * 3
    assert sent["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
