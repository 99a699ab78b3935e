"""Which texts a model does not read as text: all of its tokenizer, in whatever file, and no ordinary word."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.vlm.control_tokens import FAMILIES, control_tokens
from icd_assets_tests.programs import program

WEIGHTS = Path(__file__).parents[2] / "icd_assets" / "demo" / "weights"


def write(folder: Path, **files: object) -> Path:
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.{'jinja' if name == 'chat_template' else 'json'}").write_text(text, encoding="utf-8")
    return folder


def test_the_demos_models_have_those_that_their_tokenizers_split_off():
    from transformers import AutoTokenizer

    for name in ("tiny_vl", "tiny_clip"):
        tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / name)
        assert control_tokens(WEIGHTS / name) == set(tokenizer.get_added_vocab())
        for token in control_tokens(WEIGHTS / name):
            assert tokenizer.convert_tokens_to_ids(token) in tokenizer(f"a {token}b")["input_ids"]


def test_every_file_that_may_say_so_is_read(tmp_path):
    folder = write(
        tmp_path,
        tokenizer={
            "added_tokens": [
                {"content": "<|im_end|>", "special": True},
                {"content": "<tool_call>", "special": False},
                {"content": "[PAD]", "special": True},
                {"content": "  ", "special": False},
                {"content": "word", "special": False},
                {"content": "!", "special": True},
            ],
            "model": {"vocab": {"<b>": 3, "dog": 4}},
        },
        tokenizer_config={
            "eos_token": {"content": "</s>", "special": True},
            "extra_special_tokens": {"image_token": "<image>"},
            "additional_special_tokens": ["<row_1_col_1>"],
            "added_tokens_decoder": {"7": {"content": "<|video_pad|>", "special": True}},
            "image_seq_length": 4,
            "num_additional_image_tokens": 1,
            "model_max_length": 10,
        },
        special_tokens_map={"unk_token": "<unk>", "additional_special_tokens": [{"content": "<eou>"}]},
        added_tokens={"<global-img>": 9, "dog": 4},
        processor_config={"image_processor": {"image_token": "<IMG_CONTEXT>"}},
        chat_template="{% if x < y and y > 1 %}[INST] {{ m['text'] }} [/INST]<|user|><｜User｜><start_of_turn>u",
    )
    assert control_tokens(folder) == {
        *("<|im_end|>", "<tool_call>", "[PAD]", "</s>", "<image>", "<row_1_col_1>", "<|video_pad|>", "<unk>"),
        *(
            "<eou>",
            "<global-img>",
            "<IMG_CONTEXT>",
            "[INST]",
            "[/INST]",
            "<|user|>",
            "<｜User｜>",
            "<start_of_turn>",
        ),
    }


@pytest.mark.parametrize(
    "template",
    [{"chat_template": "<|im_start|>{{x}}"}, {"chat_template": [{"name": "d", "template": "<|im_start|>"}]}],
)
def test_a_template_in_the_tokenizers_config(tmp_path, template):
    assert control_tokens(write(tmp_path, tokenizer_config=template)) == {"<|im_start|>"}


@pytest.mark.parametrize("content", ["[]", "3", '{"added_tokens": 3}', '{"added_tokens": [null, {"content": 3}]}'])
def test_a_foreign_file_says_nothing(tmp_path, content):
    assert control_tokens(write(tmp_path, tokenizer=content, tokenizer_config=content)) == frozenset()


@pytest.mark.parametrize("content", ["{", "", "[" * 100_000])
def test_a_cut_file_is_named(tmp_path, content):
    with pytest.raises(UserError, match=r"tokenizer\.json is no complete JSON file"):
        control_tokens(write(tmp_path, tokenizer=content))


def test_the_common_families_are_known_and_nothing_heavy_is_imported(tmp_path):
    assert control_tokens(WEIGHTS / "tiny_vl") <= FAMILIES and {"<image>", "</s>", "<|vision_start|>"} <= FAMILIES
    assert control_tokens(tmp_path) == frozenset()
    command = program("heavy_imports", "icd_assets.vlm.control_tokens", "icd_assets.experiment.checks.texts")
    assert json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == []
