"""A selector's folder: read back to the bit, and whatever is wrong with it is one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from icd_assets.errors import UserError
from icd_assets.selector.config import SelectorConfig
from icd_assets.selector.model import ARCHITECTURES, new_policy
from icd_assets.selector.selector_file import CONFIG, WEIGHTS, EncoderName, read_selector, write_selector

ENCODER = EncoderName(name="clip", path="openai/clip-vit-base-patch32", revision="main")
SMALL = SelectorConfig(embedding_dim=12, hidden_dim=8, aspects=4, architecture="coverage")


def written(folder: Path, config: SelectorConfig = SMALL) -> Path:
    policy = new_policy(config, 7)
    lineage = {"asset": "singles_selector"}
    write_selector(folder, policy, stage="singles", encoder_digest="abc", lineage=lineage, encoder=ENCODER)
    return folder


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_is_read_back_to_the_bit(architecture: Any, tmp_path: Path) -> None:
    config = SMALL.model_copy(update={"architecture": architecture})
    found = read_selector(written(tmp_path / "a", config))
    expected = new_policy(config, 7).eval()
    assert (found.stage, found.encoder_digest, found.policy.config) == ("singles", "abc", config)
    assert found.encoder == ENCODER
    rng = torch.Generator().manual_seed(1)
    query, pool = torch.randn(2, 12, generator=rng), torch.randn(2, 6, 12, generator=rng)
    pointers = torch.tensor([[[1, 0]], [[5, 2]]])
    with torch.no_grad():
        assert torch.equal(found.policy(query, pool, pointers), expected(query, pool, pointers))
    again = written(tmp_path / "b", config)
    assert all((again / name).read_bytes() == (tmp_path / "a" / name).read_bytes() for name in (CONFIG, WEIGHTS))


def _config(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def changed(folder: Path) -> None:
        content = json.loads((folder / CONFIG).read_text())
        change(content)
        (folder / CONFIG).write_text(json.dumps(content))

    return changed


def test_an_older_folder_names_no_encoder(tmp_path: Path) -> None:
    folder = written(tmp_path / "a")
    _config(lambda content: content.pop("encoder"))(folder)
    assert read_selector(folder).encoder is None


def _state(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def changed(folder: Path) -> None:
        state = load_file(folder / WEIGHTS)
        change(state)
        save_file(state, folder / WEIGHTS)

    return changed


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _first(state: dict[str, torch.Tensor], made: Callable[[torch.Tensor], torch.Tensor]) -> None:
    name = max(state, key=lambda name: state[name].numel())
    state[name] = made(state[name])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / CONFIG).unlink(), "does not exist"),
        (lambda folder: (folder / WEIGHTS).unlink(), "does not exist"),
        (lambda folder: (folder / CONFIG).write_bytes(b'{"format": 1'), "no whole JSON file"),
        (lambda folder: (folder / CONFIG).write_bytes(b"[" * 100_000), "no whole JSON file"),
        (lambda folder: (folder / CONFIG).write_bytes(b"\xff\xfe\x00"), "no whole JSON file"),
        (lambda folder: (folder / CONFIG).write_text("[1]"), "not the config of a selector"),
        (lambda folder: (folder / CONFIG).write_text('{"model_type": "a"}'), "not the config of a selector"),
        (lambda folder: _cut(folder / WEIGHTS), "no whole safetensors"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"PK\x03\x04 a zip"), "no whole safetensors"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b""), "no whole safetensors"),
        (_config(lambda c: c.update(format=2)), "of a newer version, update icd-assets"),
        (_config(lambda c: c.update(format=True)), "make the selector again"),
        (_config(lambda c: c.pop("stage")), "stage is missing"),
        (_config(lambda c: c.update(__import__="os")), "__import__ is unknown"),
        (_config(lambda c: c.update(encoder="clip")), "encoder: input should be"),
        (_config(lambda c: c.update(encoder={"path": "a/b"})), "encoder.name: field required"),
        (_config(lambda c: c["encoder"].update(name=1)), "encoder.name"),
        (_config(lambda c: c["encoder"].update(code="os")), "encoder.code"),
        *(
            (_config(lambda c, path=path: c["encoder"].update(path=path)), "encoder.path: string should match")
            for path in ("/etc/clip", "../../clip", "~/clip", "https://a.b/c", "a/b/c", "a/b\n", "")
        ),
        (_config(lambda c: c.update(lineage=[])), "lineage an object"),
        (
            _config(lambda c: c["selector"].update(architecture="v9")),
            "architecture 'v9' is unknown; known: coverage",
        ),
        (_config(lambda c: c["selector"].update(architecture=["v2"])), "is unknown"),
        (_config(lambda c: c["selector"].pop("aspects")), "selector.aspects is missing"),
        (_config(lambda c: c["selector"].update(hidden_dim=0)), "selector.hidden_dim"),
        (_config(lambda c: c["selector"].update(hidden_dim="8")), "selector.hidden_dim"),
        (_config(lambda c: c["selector"].update(hidden_dim=10**9)), "cannot be"),
        (_config(lambda c: c["selector"].update(num_layers=10**9)), "cannot be"),
        (_config(lambda c: c["selector"].update(aspects=3)), "aspects 3"),
        (_config(lambda c: c.update(selector=None)), "selector must be an object"),
        (_config(lambda c: c["selector"].update(embedding_dim=13)), "has shape"),
        (_config(lambda c: c["selector"].update(architecture="gru")), "tensor"),
        (_state(lambda s: s.pop(sorted(s)[0])), "is missing"),
        (_state(lambda s: s.update(extra=torch.zeros(1))), "extra is unknown"),
        (_state(lambda s: _first(s, lambda t: t.double())), "not a finite float32"),
        (_state(lambda s: _first(s, lambda t: t.clone().fill_(float("nan")))), "not a finite float32"),
        (_state(lambda s: _first(s, lambda t: t[:-1].contiguous())), "has shape"),
    ],
)
def test_what_is_wrong_with_it_is_one_sentence(
    tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    folder = written(tmp_path / "a")
    damage(folder)
    with pytest.raises(UserError) as raised:
        read_selector(folder)
    text = str(raised.value)
    assert said in text and str(folder) in text and text.endswith(".") and "\n" not in text
