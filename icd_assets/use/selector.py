"""Choose demonstrations with a trained selector: from pictures and texts, or from vectors.

Legend: `D` embedding, `K` candidates, `N` rows of a library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from icd_assets.errors import UserError
from icd_assets.evaluation.whole_library import select_from_library
from icd_assets.experiment.catalog import Catalog
from icd_assets.runtime.foreign import brief
from icd_assets.runtime.seeding import python_rng
from icd_assets.runtime.user_path import expanded
from icd_assets.selector.decoding import greedy
from icd_assets.selector.embedding_file import read_embeddings, write_embeddings
from icd_assets.selector.encoder import ClipEncoder
from icd_assets.selector.model import PointerSelector
from icd_assets.selector.selector_file import CONFIG, HUB_ID, SelectorFile, read_selector
from icd_assets.selector.v2_file import read_v2
from icd_assets.selector.v3_file import load_policy, read_v3
from icd_assets.vlm.weights import locate

_V3 = re.compile(r"(rce|grpo)_epoch[0-9]+\.pt")


class Example(Protocol):
    """A question about a picture: an item of a dataset, or :class:`icd_assets.vlm.prompts.Shot`."""

    @property
    def image(self) -> Path: ...
    @property
    def question(self) -> str: ...


class Demonstration(Example, Protocol):
    """An example with the answer that it shows."""

    @property
    def answer(self) -> str: ...


class Selector:
    """A trained selector, ready to choose.

    >>> selector = Selector.load("results/okvqa/model_cpk/v3_…/sequence_selector")
    >>> positions = selector.select(query, candidates, shots=2)
    >>> shown = [candidates[position] for position in positions]
    """

    def __init__(
        self, policy: PointerSelector, encoder: ClipEncoder | Callable[[], ClipEncoder] | None = None
    ) -> None:
        """policy: in eval mode; encoder: that of the embeddings it was trained on, or what opens it at the first
        picture; None if only vectors come."""
        self.policy = policy
        self._encoder = encoder

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        encoder: str | Path | None = None,
        device: str = "cpu",
    ) -> Selector:
        """Of a selector's folder (``config.json``, ``model.safetensors``), a v2 or v2-format ``.ckpt``, an epoch
        such as ``rce_epoch5.pt``, or the id ``user/name`` of a selector on the hub, at a ``revision``.

        encoder: the CLIP model that the selector was trained with: a name of the catalog, a folder or a hub id.
        A selector's folder names its own. Only pictures and questions need it; vectors are taken as they are. A
        ``.ckpt`` with towers of its own brings their weights, and takes tokenizer and image processor from there.

        Raises ``UserError`` for a file that is none of these or damaged, and for an encoder whose embeddings are
        not those that the selector was trained on.
        """
        path = _found(source, revision)
        folder = path.parent if path.name == CONFIG else path
        clip = None if encoder is None else _named(str(encoder))
        if folder.is_dir():
            found = read_selector(folder)
            policy = found.policy.to(device)
            if clip is not None:
                return cls(policy, _checked(_opened(clip, device), found, folder))
            return cls(policy, None if found.encoder is None else partial(_recorded, found, folder, device))
        if _V3.fullmatch(path.name):
            policy = load_policy(read_v3(path).model_state_dict, path, device=device)
            return cls(policy, None if clip is None else _opened(clip, device))
        checkpoint = read_v2(path)
        policy = load_policy(checkpoint.state, path, device=device)
        if clip is None:
            return cls(policy)
        entry, at = clip
        return cls(policy, ClipEncoder.of_checkpoint(checkpoint.towers, entry, revision=at, device=device))

    @property
    def dim(self) -> int:
        """D."""
        return int(self.policy.config.embedding_dim)

    def embed(self, examples: Sequence[Example]) -> Tensor:
        """[n, D] unit vectors of pictures with their questions; answers are not looked at."""
        if self._encoder is None:
            raise UserError(
                "this selector was loaded without an encoder; load it with encoder=…, or give vectors."
            )
        if not isinstance(self._encoder, ClipEncoder):
            self._encoder = self._encoder()
        return self._encoder.encode(examples)  # type: ignore[arg-type]  # it reads image and question alone

    def select(
        self, query: Example | Tensor, candidates: Sequence[Example] | Tensor, shots: int = 2
    ) -> tuple[int, ...]:
        """Positions of ``shots`` different candidates, in prompt order.

        query: an example, or its vector [D]; candidates: K examples, or their vectors [K, D].
        """
        asked, offered = self._query(query), self._vectors(candidates, "candidates")
        if not 1 <= shots <= len(offered):
            raise UserError(
                f"{shots} demonstrations cannot be chosen from {len(offered)} candidates; ask for 1 or more, and "
                "no more than there are."
            )
        device = next(self.policy.parameters()).device
        with torch.inference_mode():
            pointer = greedy(self.policy, asked[None].to(device), offered[None].to(device), shots)
        return tuple(pointer[0].tolist())

    def index(self, library: Sequence[Example] | Tensor, *, pool: int = 64, seed: int = 0) -> Library:
        """A whole library to choose from, embedded once.

        pool: how many random rows the selector looks at before it chooses, as in its training.
        """
        return Library(self, self._vectors(library, "library"), pool=pool, seed=seed)

    def open_index(self, path: str | Path, *, pool: int = 64, seed: int = 0) -> Library:
        """An index that :meth:`Library.save` wrote, or ``query_embeddings.pt`` of a cell."""
        return Library(self, self._vectors(read_embeddings(Path(path)), "library"), pool=pool, seed=seed)

    def _query(self, given: Example | Tensor) -> Tensor:
        """[D]"""
        if isinstance(given, Tensor) and given.ndim != 1:
            raise UserError(f"the query is {list(given.shape)}; give one vector [{self.dim}].")
        return self._vectors(given[None] if isinstance(given, Tensor) else [given], "query")[0]

    def _vectors(self, given: Sequence[Example] | Tensor, what: str) -> Tensor:
        """[n, D] of examples, or as they are given."""
        found = given if isinstance(given, Tensor) else self.embed(given)
        if found.ndim != 2 or found.size(1) != self.dim:
            raise UserError(
                f"the vectors of the {what} are {list(found.shape)}, but the selector reads vectors of {self.dim} "
                f"numbers; give {what} of its own encoder."
            )
        if not torch.isfinite(found).all():
            raise UserError(f"the vectors of the {what} hold what is no finite number; embed it again.")
        return found.float()


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """N vectors [N, D] that every query may choose from, near ones first among them."""

    selector: Selector
    vectors: Tensor
    pool: int = 64
    seed: int = 0

    def select(
        self, query: Example | Tensor, shots: int = 2, *, nearest: int = 64, without: Sequence[int] = ()
    ) -> tuple[int, ...]:
        """Rows of the library, in prompt order: of a random pool and the ``nearest`` to the query.

        without: rows that may not be shown, such as those of the query's own picture.
        """
        asked, rows, banned = self.selector._query(query), len(self.vectors), set(without)
        if odd := sorted(row for row in banned if not 0 <= row < rows):
            raise UserError(f"row {odd[0]} is none of the library's {rows} rows; leave it out of without.")
        if not 1 <= shots <= rows - len(banned):
            raise UserError(
                f"{shots} demonstrations cannot be chosen from {rows} rows of the library, {len(banned)} of which "
                "may not be shown; ask for 1 or more, and no more than there are."
            )
        drawn = python_rng(self.seed, "library", "pool").sample(range(rows), min(self.pool + len(banned), rows))
        pool = [row for row in drawn if row not in banned][: self.pool]
        (chosen,) = select_from_library(
            self.selector.policy, asked[None], self.vectors, [pool], [sorted(banned)], shots, max(nearest, shots)
        )
        return chosen

    def save(self, path: str | Path) -> None:
        """One tensor file, which :meth:`Selector.open_index` reads."""
        write_embeddings(Path(path), self.vectors)


_Named = tuple[str, str | None]  # folder or hub id, revision


def _neither(source: str | Path) -> UserError:
    return UserError(f"{source} is neither a file or folder here nor a hub id such as user/name.")


def _found(source: str | Path, revision: str | None) -> Path:
    """A file or folder here, or the folder in the hub's cache."""
    if "://" in str(source):
        raise _neither(source)
    with suppress(OSError, RuntimeError, ValueError):  # a name that no file can have
        path = expanded(source)
        if path.exists() and revision is None:
            return path
        if path.exists():
            raise UserError(f"{source} lies on this machine and has no revision {revision!r}; leave it out.")
    if re.fullmatch(HUB_ID, str(source)) is None:
        raise _neither(source)
    try:
        return locate(str(source), revision)
    except UserError:
        at = "" if revision is None else f" --revision {revision}"
        raise UserError(
            f"{source} is neither a file or folder here nor a selector in the hub's cache, and the hub cannot be "
            f"reached or does not have it; where there is a net: hf download {source}{at}"
        ) from None


def _recorded(found: SelectorFile, folder: Path, device: str) -> ClipEncoder:
    """The encoder that a folder names: of the catalog, which may have it in a folder; else of the hub."""
    named = found.encoder
    assert named is not None
    if named.name in Catalog.load().encoders:
        clip = _named(named.name)
    elif named.path is not None:
        clip = named.path, named.revision
    else:
        raise UserError(
            f"{folder} was trained on embeddings of the encoder {brief(named.name)}, which is not in the catalog; "
            "load it with encoder=…, that encoder's folder."
        )
    return _checked(_opened(clip, device), found, folder)


def _checked(encoder: ClipEncoder, found: SelectorFile, folder: Path) -> ClipEncoder:
    if encoder.digest != found.encoder_digest:
        named = "" if found.encoder is None else f", which was called {brief(found.encoder.name)}"
        raise UserError(
            f"{folder} was trained on embeddings of another encoder than the given one{named}; load it with "
            "encoder=…, the one that the dataset's entry in the catalog names."
        )
    return encoder


def _opened(clip: _Named, device: str) -> ClipEncoder:
    path, revision = clip
    return ClipEncoder.load(path, revision=revision, device=device)


def _named(name: str) -> _Named:
    """Of a name of the catalog; any other name is a folder or hub id itself."""
    entry = Catalog.load().encoders.get(name)
    return (name, None) if entry is None else (entry.path, entry.revision)
