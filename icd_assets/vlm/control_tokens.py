"""The texts that a model does not read as text: its control tokens, from the files beside its weights.

A question that holds ``<|im_end|>`` ends the user's turn, one that holds ``<|image_pad|>`` asks for a picture. A
tokenizer takes such a text for the token wherever it stands, and so does a server, so there is no way to show it
literally.

1. Every added token counts that a tokenizer marks as special, and of the others (``<tool_call>``) those in
   brackets. What has fewer than three characters (CLIP's padding ``!``) is ordinary text.
2. What the chat template writes in brackets counts too: older models know ``[INST]`` by its letters alone.
3. Of a served model there is no tokenizer here. The tokens of the common families stand for its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import printable
from icd_assets.runtime.plain_file import in_words
from icd_assets.runtime.small_file import read_small, read_small_json

_LARGEST = 64 << 20  # bytes; a tokenizer of 250,000 words has 35 MB
_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "processor_config.json",
    "preprocessor_config.json",
)
_TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")

_BRACKETED = re.compile(r"<.+>|\[.+\]", re.DOTALL)
# In a template, between Jinja's own brackets: <|im_start|>, <image>, </s>, [INST], <start_of_turn>, <｜User｜>.
_IN_TEMPLATE = re.compile(r"<[|｜][^<>\n]{1,60}[|｜]>|</?[A-Za-z_]\w{0,40}>|\[/?[A-Z][A-Z_]{1,30}\]")

_OF_FAMILIES = """
<|im_start|> <|im_end|> <|endoftext|> <|image_pad|> <|video_pad|> <|vision_start|> <|vision_end|>
<|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|> <|quad_end|>
<image> </image> <video> <img> </img> <IMG_CONTEXT> <fake_token_around_image> <global-img> <end_of_utterance>
<image_soft_token> <start_of_image> <end_of_image> <start_of_turn> <end_of_turn> <bos> <eos> <s> </s> <unk> <pad>
<|begin_of_text|> <|end_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|> <|image|> <|python_tag|>
[INST] [/INST] [IMG] [IMG_BREAK] [IMG_END] <|user|> <|assistant|> <|system|> <|end|>
"""
FAMILIES = frozenset(_OF_FAMILIES.split())


def control_tokens(folder: Path) -> frozenset[str]:
    """Of the model in ``folder``, read without loading any of it.

    Raises :class:`UserError` for a file that is no JSON; one that is absent says nothing.
    """
    found: set[str] = set()
    for name in _FILES:
        content = _json(folder / name)
        found.update(_added(content) if name == "tokenizer.json" else _named(content))
    for template in _templates(folder):
        found.update(match[0] for match in _IN_TEMPLATE.finditer(template))
    return frozenset(token for token in found if len(token.strip()) >= 3)


def _json(path: Path) -> Any:
    try:
        return read_small_json(path, _LARGEST)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        words = in_words(error) if isinstance(error, OSError) else str(error)
        raise UserError(
            f"{path} is no complete JSON file ({printable(words[:200])}); download the model again."
        ) from None


def _added(tokenizer: Any) -> Iterator[str]:
    """tokenizer.json; its ``model`` holds the vocabulary, which is text."""
    listed = tokenizer.get("added_tokens") if isinstance(tokenizer, dict) else None
    for token in listed if isinstance(listed, list) else []:
        yield from _token(token)


def _named(content: Any) -> Iterator[str]:
    """``eos_token``, ``image_token``, ``extra_special_tokens``, ``added_tokens_decoder``, at any depth."""
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if key == "added_tokens_decoder" and isinstance(value, dict):
            for token in value.values():
                yield from _token(token)
        elif key.endswith(("_token", "_tokens")):
            for token in _flat(value):
                yield from _token(token, special=True)
        elif isinstance(value, dict):
            yield from _named(value)
        elif type(value) is int and _BRACKETED.fullmatch(key):  # added_tokens.json: token → id
            yield key


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict) and "content" not in value:
        yield from value.values()
    else:
        yield value


def _token(token: Any, *, special: bool = False) -> Iterator[str]:
    """A text, or a record of it: ``{"content": "<s>", "special": true}``."""
    record = token if isinstance(token, dict) else {"content": token, "special": special}
    text = record.get("content")
    if isinstance(text, str) and (record.get("special", special) is True or _BRACKETED.fullmatch(text)):
        yield text


def _templates(folder: Path) -> Iterator[str]:
    config = _json(folder / "tokenizer_config.json")
    for content in (config, *(_json(folder / name) for name in _TEMPLATES if name.endswith(".json"))):
        template = content.get("chat_template") if isinstance(content, dict) else None
        for one in template if isinstance(template, list) else [template]:
            text = one.get("template") if isinstance(one, dict) else one
            if isinstance(text, str):
                yield text
    for path in (folder / "chat_template.jinja", *sorted((folder / "additional_chat_templates").glob("*.jinja"))):
        if path.exists():
            try:
                yield read_small(path, _LARGEST).decode("utf-8", "replace")
            except OSError as error:
                raise UserError(f"{path} cannot be read ({in_words(error)}); download the model again.") from None
