"""A prefix of an object store (S3, Google Cloud Storage, Azure, or a folder), as few operations as can do.

Whatever a store has in common with the others is used, and no more: a name is put as a whole or not at all, and
*created* only where nothing has it. Nothing is ever put over a name that another may have put.

Credentials come from where the store's own tools take them (``AWS_ACCESS_KEY_ID``, an instance's role, …), never
from the address, and no text of ours shows them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import printable
from icd_assets.runtime.plain_file import in_words, require_plain
from icd_assets.runtime.secrets import redacted_line

if TYPE_CHECKING:
    from obstore.store import ObjectStore

VARIABLE = "ICD_REMOTE"
CHUNK = 8 << 20  # bytes of a request: S3's parts are at least 5 MiB
_SCHEMES = ("s3", "gs", "az", "file")
_RETRIES: dict[str, Any] = {"max_retries": 8, "retry_timeout": timedelta(seconds=120)}
_HOW = (
    "write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://ACCOUNT/CONTAINER/PREFIX, or an absolute path of a folder"
)


@dataclass(frozen=True)
class Entry:
    """A name of the remote, its size in bytes, and when it was put."""

    name: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class Place:
    """One prefix. Every method raises :class:`UserError` if the store cannot be reached, refuses, or is full."""

    address: str
    _store: ObjectStore
    _folder: Path | None = None  # of a folder's store

    @classmethod
    def open(cls, given: str | None, *, make: bool = False) -> Place:
        """The place that ``given``, else the variable ICD_REMOTE, names. Nothing is asked of it yet. make: make a
        folder that is not there; else it is as an empty one."""
        address = given or os.environ.get(VARIABLE, "")
        if not address:
            raise UserError(f"no remote is named; give --remote or set {VARIABLE}: {_HOW}.")
        url = _url(address)
        try:
            from obstore.store import MemoryStore, from_url
        except ImportError:
            raise UserError(
                "the library obstore is missing; install icd_assets with the extra 'remote'."
            ) from None
        over_the_net: dict[str, Any] = {"retry_config": _RETRIES, "client_options": _client()}
        with _explained(address):
            if not url.startswith("file:"):
                return cls(address, from_url(url, **over_the_net))
            folder = Path(unquote(urlsplit(url).path))
            if not make and not folder.exists():
                return cls(address, MemoryStore())
            return cls(address, from_url(url, mkdir=True), folder)

    def names(self, prefix: str = "") -> Iterator[Entry]:
        """All names under ``prefix``, a folder."""
        import obstore

        with self._explained():
            for entries in obstore.list(self._store, prefix=prefix or None):
                for one in entries:
                    yield Entry(one["path"], one["size"], one["last_modified"])

    def is_empty(self) -> bool:
        return next(self.names(), None) is None

    def read(self, name: str, most: int) -> bytes | None:
        """What stands under ``name``; None if nothing does. Raises ``ValueError`` if it has more than ``most``
        bytes: whoever can write there is not always one of us."""
        import obstore

        if (what := self._no_file(name)) is not None:
            raise ValueError(what)
        with self._explained():
            try:
                found = obstore.get(self._store, name)
            except FileNotFoundError:
                return None
            if found.meta["size"] > most:
                raise ValueError(f"{found.meta['size']} bytes, of which at most {most} are read")
            return bytes(found.bytes())

    def create(self, name: str, content: bytes) -> bool:
        """Put a small ``content`` under ``name``, unless something is there: then False."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._explained():
            try:
                obstore.put(self._store, name, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True

    def put(self, name: str, chunks: Iterator[bytes]) -> None:
        """Put what ``chunks`` give, one after the other; if they raise, nothing is there."""
        import obstore

        with self._explained(), obstore.open_writer(self._store, name, buffer_size=CHUNK) as writer:
            for chunk in chunks:
                writer.write(chunk)

    def part(self, name: str, start: int, length: int) -> bytes | None:
        """``length`` bytes from ``start``; None if nothing has the name."""
        import obstore

        if (what := self._no_file(name)) is not None:
            raise UserError(f"{name} of {self.address} cannot be read: {what}; remove it there.")
        with self._explained():
            try:
                return bytes(obstore.get_range(self._store, name, start=start, length=length))
            except FileNotFoundError:
                return None

    def _no_file(self, name: str) -> str | None:
        """What stands in a folder's place of a file; its library would wait for a pipe, and read a device."""
        try:
            if self._folder is not None:
                require_plain(self._folder / name)
        except FileNotFoundError:
            return None
        except OSError as error:
            return in_words(error)
        return None

    def size(self, name: str) -> int | None:
        """In bytes; None if nothing has the name."""
        import obstore

        with self._explained():
            try:
                return int(obstore.head(self._store, name)["size"])
            except FileNotFoundError:
                return None

    def delete(self, names: Sequence[str], each: Callable[[], None] = lambda: None) -> None:
        """Remove ``names``; one that is gone is no error."""
        import obstore

        for start in range(0, len(names), 500):
            with self._explained():
                try:
                    obstore.delete(self._store, list(names[start : start + 500]))
                except FileNotFoundError:  # a folder's store stops at the first that is gone
                    for name in names[start : start + 500]:
                        self._delete_one(name)
            each()

    def _delete_one(self, name: str) -> None:
        import obstore

        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            return

    def _explained(self) -> Any:
        return _explained(self.address)


def _url(address: str) -> str:
    """The address as the library reads it. What could hold a key is refused, not hidden: it would be in the
    shell's history, and in that of whoever copies the line."""
    if address.startswith("/"):
        return f"file://{quote(address)}"
    shown = printable(re.sub(r"//[^/]*@", "//***@", re.split("[?#]", address)[0])[:200])
    try:
        split = urlsplit(address)
    except ValueError:
        raise UserError(f"the remote {shown} is no address; {_HOW}.") from None
    if split.username is not None or split.password is not None or split.query or split.fragment:
        raise UserError(
            f"the remote {shown} has more in it than a place; keys come from the store's own variables, "
            f"such as AWS_ACCESS_KEY_ID: {_HOW}."
        )
    bad = not split.netloc if split.scheme != "file" else bool(split.netloc) or not split.path.startswith("/")
    if split.scheme not in _SCHEMES or bad or any(not c.isprintable() for c in address):
        raise UserError(f"the remote {shown} is no address; {_HOW}.")
    if ".." in split.path.split("/"):
        raise UserError(f"the remote {shown} has '..' in it; write the path without.")
    return address


def _client() -> dict[str, Any]:
    """Options of ours put the library's variable out of force, so it is read here."""
    plain = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true", "yes", "on")
    return {"timeout": timedelta(seconds=300), "allow_http": plain}  # twelve parts share a slow line


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """What the library raises as one sentence: its own texts hold requests and go on for twenty lines."""
    from obstore import exceptions

    again = "nothing is lost, and the same command goes on where it was"
    try:
        yield
    except (exceptions.UnauthenticatedError, exceptions.PermissionDeniedError, PermissionError) as error:
        raise UserError(f"{address} refuses: {_line(error)}; check the store's credentials and rights.") from None
    except (exceptions.NotSupportedError, NotImplementedError) as error:
        raise UserError(
            f"{address} cannot create a name only where nothing has it ({_line(error)}), without which two pushes "
            "could overwrite each other; take a store that can."
        ) from None
    except FileNotFoundError as error:
        raise UserError(f"{address} is not there ({_line(error)}); check the bucket's name.") from None
    except exceptions.BaseError as error:
        raise UserError(f"{address} cannot be reached, or has failed ({_line(error)}); {again}.") from None
    except OSError as error:
        if error.errno is not None:  # of this machine's own disk
            raise
        raise UserError(f"{address} cannot be reached, or has failed ({_line(error)}); {again}.") from None


def _line(error: BaseException) -> str:
    """The first line, without the request's address: a signed one is a key."""
    text = redacted_line(error, most=2000)
    return re.sub(r"https?://\S+", lambda found: found[0].partition("?")[0], text).rstrip(".: ")[:300]
