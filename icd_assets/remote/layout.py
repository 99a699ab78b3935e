"""The names on a remote.

``icd_assets.json``
    Marks the prefix as one of ours.
``blobs/1f/1f2e…``
    A file's bytes, by their SHA-256: equal files of any artifacts are there once.
``manifests/PLACE/00000003.json``
    The manifest of PLACE, as it lies under a results root, to the byte. The highest number holds; who puts the
    next one *creates* it, so that of two who try one fails and looks again. It is created after its files.
``lineage/BUILD.json``
    The manifests behind an artifact, down to the first, as a list.
``answers/1f2e….parquet``
    Answers of VLMs, by the SHA-256 of the file: keys of 32 bytes, texts, log-probabilities and numbers of tokens.
``locks/push-….json``
    Who is at work there.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from icd_assets.lineage.records import FOLDERS
from icd_assets.store.manifest import Manifest
from icd_assets.store.names import MANIFEST, PRIVATE, SEEDS

MARKER = "icd_assets.json"
FORM = 1
BLOBS, MANIFESTS, LINEAGE, ANSWERS, LOCKS = "blobs", "manifests", "lineage", "answers", "locks"
_BLOB = re.compile(r"blobs/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_ANSWERS = re.compile(r"answers/([0-9a-f]{64})\.parquet")
_VERSION = re.compile(r"manifests/(?P<place>.+)/(?P<number>\d{8})\.json", re.DOTALL)
_KINDS = {pattern.split("/")[1] for pattern in FOLDERS}
_SEED = re.compile(rf"{SEEDS}/(\d{{1,10}})/(.+)", re.DOTALL)


def blob(sha256: str) -> str:
    return f"{BLOBS}/{sha256[:2]}/{sha256}"


def version(place: str, number: int) -> str:
    return f"{MANIFESTS}/{place}/{number:08d}.json"


def behind(manifest: Manifest) -> str:
    return f"{LINEAGE}/{manifest.spec.asset}-{manifest.data_version}-{manifest.build}.json"


def answers(sha256: str) -> str:
    return f"{ANSWERS}/{sha256}.parquet"


def sha256_of_blob(name: str) -> str | None:
    """None for a name that is none of ours."""
    found = _BLOB.fullmatch(name)
    return found[2] if found is not None else None


def sha256_of_answers(name: str) -> str | None:
    found = _ANSWERS.fullmatch(name)
    return found[1] if found is not None else None


def place_of_version(name: str) -> tuple[str, int] | None:
    """(place, number); None for what is none, or would lie where no manifest of ours does."""
    found = _VERSION.fullmatch(name)
    if found is None or not is_place(found["place"]):
        return None
    return found["place"], int(found["number"])


def seed_of(place: str) -> tuple[int | None, str]:
    """The seed in whose results root a manifest lies, None for the first, and its place there."""
    found = _SEED.fullmatch(place)
    return (int(found[1]), found[2]) if found is not None else (None, place)


def is_place(place: str) -> bool:
    """Whether a manifest of ours can lie there, relative to a results root."""
    _, inner = seed_of(place)
    return inner.endswith(MANIFEST) and holds_files(inner)


def holds_files(path: str) -> bool:
    """Whether an artifact's file can lie there: in the folders of Lever-Plus' layout, and nowhere in our own."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path or len(pure.parts) < 3:
        return False
    return pure.parts[0] not in (PRIVATE, SEEDS) and pure.parts[1] in _KINDS
