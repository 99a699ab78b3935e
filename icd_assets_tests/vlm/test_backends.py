"""The table of backends: complete, and light to import; what manifests keep of a model does not change."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from typing import Any

import pytest

from icd_assets.experiment.catalog_entries import ModelEntry
from icd_assets.vlm import backends
from icd_assets.vlm.backends import BACKENDS
from icd_assets.vlm.backends.config import BackendConfig

SERVED = {"url": "http://host/v1", "model": "Org/m", "server": "vllm", "revision": "abc"}


def entry(**fields: Any) -> ModelEntry:
    return ModelEntry.model_validate({"name": "m", "aliases": [], **fields})


def test_every_backend_is_in_the_table_and_complete() -> None:
    written = {
        kind
        for module in pkgutil.iter_modules(backends.__path__, f"{backends.__name__}.")
        for kind in vars(importlib.import_module(module.name)).values()
        if isinstance(kind, type) and issubclass(kind, BackendConfig) and kind is not BackendConfig
    }
    assert written == set(BACKENDS.values())
    for key, kind in BACKENDS.items():
        assert key in kind.model_fields
        assert not inspect.isabstract(kind), kind.__abstractmethods__
        assert isinstance(kind.loads_weights, bool)


def test_no_field_of_an_entry_means_two_things() -> None:
    entrys_own = set(ModelEntry.model_fields)
    for kind in BACKENDS.values():
        assert not entrys_own & set(kind.model_fields)
        entrys_own |= set(kind.model_fields)


def test_a_catalog_is_light_to_read() -> None:
    code = (
        "import sys; from icd_assets.experiment.catalog import Catalog; Catalog.load();"
        "print([name for name in ('torch', 'transformers', 'openai', 'numpy') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        (
            {"path": "x", "revision": "abc", "min_pixels": 4},
            '{"dtype": "bfloat16", "prompt": {"layout": "interleaved", "system": null, "question": '
            '"Question:{question} Short answer:", "answer": "{answer}"}, "batch_size": 8, "min_pixels": 4, '
            '"max_pixels": null}',
        ),
        (
            {"path": "x", "exact": False},
            '{"dtype": "bfloat16", "prompt": {"layout": "interleaved", "system": null, "question": '
            '"Question:{question} Short answer:", "answer": "{answer}"}, "batch_size": 8, "min_pixels": null, '
            '"max_pixels": null, "exact": false}',
        ),
        (
            {"endpoint": SERVED},
            '{"prompt": {"layout": "interleaved", "system": null, "question": "Question:{question} Short '
            'answer:", "answer": "{answer}"}, "endpoint": {"model": "Org/m", "server": "vllm", "revision": "abc", '
            '"weights_digest": null, "extra_body": {}}}',
        ),
    ],
)
def test_what_manifests_keep_of_a_model_is_what_they_always_kept(fields: dict[str, Any], kept: str) -> None:
    model = entry(**fields)
    assert json.dumps(model.backend.settings(model.prompt)) == kept
