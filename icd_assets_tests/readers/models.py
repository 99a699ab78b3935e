"""Weights and what lies beside them: checkpoints, selectors, embeddings, models' folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.experiment.checks.models import clip
from icd_assets.lineage.embedded import read_embedded
from icd_assets.vlm.control_tokens import control_tokens
from icd_assets.vlm.prompt_tokens import tokens_per_demonstration
from icd_assets.vlm.weight_headers import count_numbers, require_whole
from icd_assets_tests.readers import Reader

TINY = Path(__file__).parents[2] / "icd_assets/demo/weights"


def _v2(path: Path) -> object:
    from icd_assets.selector.v2_file import read_v2

    _lineage(path)
    return read_v2(path)


def _parts(path: Path) -> object:
    """Encoded before, in a file that is known by the journal beside it."""
    from icd_assets.selector.encoded_parts import EncodedParts

    return EncodedParts(path.parent).get(path.name, (3, 4))


def _write_parts(path: Path) -> None:
    import torch

    from icd_assets.selector.encoded_parts import EncodedParts

    EncodedParts(path.parent).put(path.name, torch.eye(3, 4))


def _v3(path: Path) -> object:
    from icd_assets.selector.v3_file import load_policy, read_v3

    _lineage(path)
    return load_policy(read_v3(path).model_state_dict, path)


def _lineage(path: Path) -> None:
    try:
        read_embedded(path)
    except UserError as error:
        str(error).encode()


def _state(path: Path) -> object:
    from icd_assets.selector.v3_file import read_training_state

    return read_training_state(path)


def _embeddings(path: Path) -> object:
    from icd_assets.selector.embedding_file import read_embeddings

    return read_embeddings(path, rows=3).sum()


def _selector(path: Path) -> object:
    from icd_assets.selector.selector_file import read_selector

    _lineage(path)
    return read_selector(path.parent)


def _write_v2(path: Path) -> None:
    from icd_assets.selector.v2_file import V2Checkpoint, write_v2

    write_v2(path, V2Checkpoint(_weights(), epoch=3))


def _write_v3(path: Path) -> None:
    from icd_assets.selector.v3_file import V3Checkpoint, write_v3

    write_v3(path, V3Checkpoint(0, "rce", _weights(), 0.0, {"val_loss": 0.5}))


def _write_state(path: Path) -> None:
    from icd_assets.selector.training import EpochResult
    from icd_assets.selector.v3_file import write_training_state

    write_training_state(path, EpochResult("rce", 0, _weights(), {"state": {}}, {"val_loss": 0.5}))


def _write_embeddings(path: Path) -> None:
    import torch

    from icd_assets.selector.embedding_file import write_embeddings

    write_embeddings(path, torch.eye(3, 4))


def _write_selector(path: Path) -> None:
    from icd_assets.selector.model import new_policy
    from icd_assets.selector.selector_file import write_selector

    write_selector(path.parent, new_policy(_config(), 0), stage="rce", encoder_digest="0f", lineage={})


def _config():  # type: ignore[no-untyped-def]
    from icd_assets.selector.config import SelectorConfig

    return SelectorConfig(embedding_dim=4, hidden_dim=4, num_layers=1, num_heads=1)


def _weights():  # type: ignore[no-untyped-def]
    from icd_assets.selector.model import new_policy

    return {name: tensor.clone() for name, tensor in new_policy(_config(), 0).state_dict().items()}


# -- a model's folder -------------------------------------------------------------------------------------------


def _folder(path: Path) -> object:
    folder, refused = path.parent, None
    try:
        require_whole(folder)
    except UserError as error:
        refused = error
    count_numbers(folder)
    tokens_per_demonstration(folder, 40)
    try:
        control_tokens(folder)
    except UserError as error:
        assert refused is not None or path.name != "config.json", error
        refused = refused or error
    if refused is not None:
        raise refused
    return folder


def _vlm(path: Path) -> object:
    """As the doctor and a run look at it: before anything is loaded, then tokenizer, processor, template."""
    from icd_assets.vlm.processor import load_processor

    _folder(path)
    return load_processor(path.parent)


def _clip(path: Path) -> object:
    from icd_assets.experiment.catalog_entries import EncoderEntry
    from icd_assets.selector.encoder import readers, towers

    clip(EncoderEntry.model_construct(name="c", path=str(path.parent), revision=None))
    _folder(path)
    towers(path.parent)
    return readers(path.parent)


def _copy(kind: str) -> Callable[[Path], object]:
    def put(path: Path) -> None:
        shutil.copytree(TINY / kind, path.parent, dirs_exist_ok=True)

    return put


def _saved(*, zipped: bool) -> Callable[[Path], object]:
    def put(path: Path) -> None:
        import torch

        torch.save({"a": torch.ones(2, 3)}, path, _use_new_zipfile_serialization=zipped)

    return put


def _shard(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2, 3)}, path.parent / "x.safetensors")
    path.write_text(json.dumps({"weight_map": {"a": "x.safetensors"}}), encoding="utf-8")


def _pointer(path: Path) -> None:
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0f\nsize 12\n")


_OF_VLM = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "chat_template.jinja",
)
_OF_CLIP = ("config.json", "tokenizer.json", "preprocessor_config.json")
READERS: dict[str, Reader] = {
    "v2 checkpoint": Reader(_v2, "sft.ckpt", _write_v2, values=80),
    "v3 checkpoint": Reader(_v3, "rce_epoch1.pt", _write_v3, values=80),
    "training state": Reader(_state, "state_epoch0.pt", _write_state, values=80),
    "encoded parts": Reader(_parts, "0f.f32", _write_parts, cache=True),
    "embeddings": Reader(_embeddings, "query_embeddings.pt", _write_embeddings),
    "selector's config": Reader(_selector, "config.json", _write_selector, values=80),
    "selector's weights": Reader(_selector, "model.safetensors", _write_selector),
    **{f"VLM's {name}": Reader(_vlm, name, _copy("tiny_vl"), values=15) for name in _OF_VLM},
    **{f"CLIP's {name}": Reader(_clip, name, _copy("tiny_clip"), values=10) for name in _OF_CLIP},
    "VLM's weights": Reader(_folder, "model.safetensors", _copy("tiny_vl")),
    "index of weights": Reader(_folder, "model.safetensors.index.json", _shard),
    "pickled weights": Reader(_folder, "pytorch_model.bin", _saved(zipped=True)),
    "older pickled weights": Reader(_folder, "pytorch_model.bin", _saved(zipped=False)),
    "pointer of git-lfs": Reader(_folder, "vocab.txt", _pointer, taken=False),
}
