"""Is a model folder what a whole download leaves? Judged by the beginnings of its files: nothing is loaded.

Broken downloads leave four things, each of which fails late and in other words when a model is loaded: the pointer
that git writes where git-lfs is not installed, a web page (a login, an error) under the file's name, an index
whose shards are not all there, and a file that ends too early. A safetensors file says in its header how long it
is (https://huggingface.co/docs/safetensors: 8 bytes length, JSON header, tensors without gaps).
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from icd_assets.errors import UserError
from icd_assets.runtime.finding import in_bytes
from icd_assets.runtime.foreign import brief, printable
from icd_assets.runtime.instead import PAGES, POINTER
from icd_assets.runtime.plain_file import in_words, open_plain
from icd_assets.runtime.small_file import parse_json, read_small_json

_LONGEST_HEADER = 16 << 20  # bytes; 150,000 tensors. As Python's objects it takes twenty times that
_LONGEST_JSON = 64 << 20  # bytes; a tokenizer of 250,000 words has 35 MB
_MOST_NUMBERS = 1 << 50  # of one tensor
_LENGTH = 8
# As transformers looks for them: the first that is there is loaded.
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PICKLED, _PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_OPENED = {".json", ".txt", ".model", ".jinja", ".safetensors", ".bin"}
_READ = {".json", ".txt", ".model", ".jinja"}
_VOCABULARIES = (
    *("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json"),
    "sentencepiece.bpe.model",
)
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"  # torch before 1.6


def require_whole(folder: Path) -> None:
    """Raise ``UserError`` naming the first file of a model's ``folder`` that is no whole download.

    Looked at are the files that transformers would load, in the folder itself.
    """
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"model folder {folder} cannot be read ({in_words(error)}); fix its path.") from None
    for path in inside:
        _require_ordinary(path)
    files = {path.name: path for path in inside if path.is_file()}  # follows the hub's links
    for path in files.values():
        if path.suffix in _READ:
            _require_text(path)
    _require_own_weights(folder / "config.json")
    if _WHOLE in files:
        _require_tensors(files[_WHOLE])
    elif _INDEX in files:
        _require_shards(files[_INDEX], files)
    elif _PICKLED in files:
        _require_pickled(files[_PICKLED])
    elif _PICKLED_INDEX in files:
        _require_shards(files[_PICKLED_INDEX], files)
    else:
        shards = [name for name in files if name.endswith((".safetensors", ".bin"))]
        if any("-of-" in name for name in shards):
            raise UserError(
                f"model folder {folder} holds shards ({shards[0]}, …) but no {_INDEX} that says what lies in "
                "which; download the folder again."
            )
        for name in shards:
            _require_weights(files[name])


def require_tokenizer(folder: Path) -> None:
    """Raise ``UserError`` if no file holds a vocabulary: transformers would make up an empty one."""
    if not any((folder / name).is_file() for name in _VOCABULARIES) and not list(folder.glob("*.tiktoken")):
        raise UserError(f"model folder {folder} holds no tokenizer ({_VOCABULARIES[0]}); download it again.")


def count_numbers(folder: Path) -> int | None:
    """How many numbers the safetensors files that would be loaded hold; None where other files would be, or those
    cannot be read."""
    whole, index = folder / _WHOLE, folder / _INDEX
    try:
        if whole.is_file():
            files = [whole]
        elif index.is_file():
            files = [
                folder / name for name in sorted(set(read_small_json(index, _LONGEST_JSON)["weight_map"].values()))
            ]
        else:
            return None
        return sum(_numbers(entry["shape"]) for path in files for entry in _header(path).values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _numbers(shape: Any) -> int:
    if len(shape) > 64 or any(type(size) is not int or not 0 <= size < _MOST_NUMBERS for size in shape):
        raise ValueError("a shape that cannot be one")
    return math.prod(shape)


def _header(path: Path) -> dict[str, Any]:
    with open_plain(path) as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if length > _LONGEST_HEADER:
            raise ValueError("a header longer than any")
        entries: dict[str, Any] = parse_json(file.read(length).decode("utf-8"))
    return {name: entry for name, entry in entries.items() if name != "__metadata__"}


def _require_ordinary(path: Path) -> None:
    """What is opened when a model is loaded must not wait, or have no end. Folders are left alone."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        _refuse(path, "is a link to a file that is not there")
    except OSError as error:
        _refuse(path, f"cannot be read ({in_words(error)})")
    if kind == stat.S_IFDIR:
        if path.suffix in _OPENED:
            _refuse(path, "is a folder, not a file")
    elif kind != stat.S_IFREG:
        _refuse(path, "is a pipe, a socket or a device, not a file")


def _require_own_weights(config: Path) -> None:
    """transformers takes the weights under the name that the configuration gives, if it gives one."""
    if config.is_file() and (named := _object(config).get("transformers_weights")) is not None:
        _refuse(config, f"names its weights {brief(named)}: only {_WHOLE} and its like are loaded here, so it")


def _require_weights(path: Path) -> None:
    if path.suffix == ".safetensors":
        _require_tensors(path)
    else:
        _require_pickled(path)


def _require_shards(index: Path, files: Mapping[str, Path]) -> None:
    content = _object(index)
    where = content.get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(name, str) for name in where.values()) or not where:
        _refuse(index, "has no weight_map from tensors to files")
    suffix = ".bin" if index.name == _PICKLED_INDEX else ".safetensors"
    if odd := sorted(name for name in set(where.values()) if "/" in name or not name.endswith(suffix)):
        _refuse(index, f"names {printable(odd[0][:200])}, which is no file of weights beside it")
    shards: dict[str, list[str]] = {}
    for tensor, name in where.items():
        shards.setdefault(name, []).append(tensor)
    if lacking := sorted(shards.keys() - files.keys()):
        there = len(shards) - len(lacking)
        raise UserError(
            f"{index} names {len(shards)} files of weights, of which {there} are there; "
            f"{printable(lacking[0][:200])} is missing: download the model again."
        )
    for name, tensors in sorted(shards.items()):
        if files[name].suffix == ".safetensors":
            held = _require_tensors(files[name])
            if absent := sorted(set(tensors) - held):
                _refuse(files[name], f"lacks {printable(absent[0][:200])}, which {index.name} says lies in it")
        else:
            _require_pickled(files[name])


def _require_tensors(path: Path) -> set[str]:
    """The names of the tensors in a whole safetensors file."""
    size = path.stat().st_size
    with open_plain(path) as file:
        start = file.read(_LENGTH)
        _require_content(path, start + file.read(64), size)
        length = int.from_bytes(start, "little")
        if len(start) < _LENGTH or not 2 <= length <= max(2, size):
            _refuse(path, "is no safetensors file")
        if length > _LONGEST_HEADER:
            _refuse(path, f"has a header of {in_bytes(length)}, more than any model's")
        file.seek(_LENGTH)
        header = file.read(length)
    if len(header) < length:
        _refuse(path, f"is cut within its header ({in_bytes(size)})")
    try:
        parsed = parse_json(header.decode("utf-8"))
        entries = {name: entry for name, entry in parsed.items() if name != "__metadata__"}
        end = max((_place(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        _refuse(path, "is no safetensors file: its header cannot be read")
    whole = _LENGTH + length + end
    if size < whole:
        _refuse(path, f"is cut: it has {size:,} of the {whole:,} bytes that its header tells of")
    if size > whole:
        _refuse(path, f"is longer than its header says ({size:,} bytes, not {whole:,})")
    _require_header(path)
    return set(entries)


def _place(given: Any) -> int:
    if type(given) is not int or not 0 <= given < 1 << 63:
        raise ValueError("a place that cannot be one")
    return given


def _require_header(path: Path) -> None:
    """Types, shapes and places fit together, as the library that will load them sees it."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        _refuse(path, f"has a damaged header ({printable(str(error)[:200])})")


def _require_pickled(path: Path) -> None:
    """A file of ``torch.save``: exactly as torch writes it, tensors by their names and nothing else.

    transformers hands it to torch's own reader, which follows it without asking what it costs. So it is read here
    first, by the reader that asks.
    """
    size = path.stat().st_size
    with open_plain(path) as file:
        start = file.read(64)
    _require_content(path, start, size)
    if not start.startswith((_ZIP, _PICKLE)):
        _refuse(path, "is no file of torch.save")
    from icd_assets.runtime.torch_files.state import require_older_tensors, require_tensors

    try:
        (require_tensors if start.startswith(_ZIP) else require_older_tensors)(path)
    except UserError as error:
        raise UserError(f"{str(error).partition('; copy or make')[0].rstrip('.')}; download it again.") from None


def _require_text(path: Path) -> None:
    """Configuration, tokenizer, template: text that is no pointer; JSON where it says so."""
    with open_plain(path) as file:
        start = file.read(64)
    if path.suffix == ".json":
        _require_content(path, start, path.stat().st_size)
        _object(path)
    elif start.startswith(POINTER):
        _refuse(path, _pointer_words(path))


def _object(path: Path) -> dict[str, Any]:
    try:
        content = read_small_json(path, _LONGEST_JSON)
    except (ValueError, OSError) as error:
        words = in_words(error) if isinstance(error, OSError) else str(error).splitlines()[0]
        _refuse(path, f"is no whole JSON file ({printable(words[:200])})")
    return content if isinstance(content, dict) else {}


def _require_content(path: Path, start: bytes, size: int) -> None:
    if size == 0:
        _refuse(path, "is empty")
    if start.startswith(POINTER):
        _refuse(path, _pointer_words(path))
    if start.lstrip().lower().startswith(PAGES):
        _refuse(path, "is a web page, as a download without login leaves it")


def _pointer_words(path: Path) -> str:
    real = next(_sizes(path), None)
    of = f" of {in_bytes(real)}" if real is not None else ""
    return f"is the git-lfs pointer to a file{of}, not the file (run git lfs pull in that folder)"


def _sizes(path: Path) -> Iterator[int]:
    with open_plain(path) as file:
        text = file.read(1000).decode("ascii", "replace")
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == "size" and value.isdecimal():
            yield int(value)


def _refuse(path: Path, what: str) -> NoReturn:
    raise UserError(f"{path} {what}; download it again.")
