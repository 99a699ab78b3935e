"""Files by their content: sent as they are read, received in parts that a kill does not lose."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.remote import layout
from icd_assets.remote.place import CHUNK, Place
from icd_assets.runtime.plain_file import open_plain
from icd_assets.store.atomic import make_folder
from icd_assets.store.digests import sha256_file

OnBytes = Callable[[int], None]


def send(remote: Place, path: Path, sha256: str, size: int, on_bytes: OnBytes) -> None:
    """Put the file at ``path``. Raises :class:`UserError`, and puts nothing, if it no longer has the digest, or
    another size: what is larger is not read."""

    def chunks() -> Iterator[bytes]:
        digest = hashlib.sha256()
        with open_plain(path) as file:
            same = os.fstat(file.fileno()).st_size == size
            while same and (chunk := file.read(CHUNK)):
                digest.update(chunk)
                yield chunk
                on_bytes(len(chunk))
        if digest.hexdigest() != sha256:
            raise UserError(f"{path} was changed while it was read; run the same command again.")

    remote.put(layout.blob(sha256), chunks())


def fetch(remote: Place, name: str, sha256: str, size: int, into: Path, on_bytes: OnBytes) -> Path:
    """What stands under ``name`` as a file of the folder ``into``, named by its digest; it may be there, wholly or
    in part, from an earlier try.

    Raises :class:`UserError` if the remote does not have it, or has other bytes.
    """
    whole, part = into / sha256, into / f"{sha256}.part"
    if whole.is_file() and whole.stat().st_size == size and sha256_file(whole) == sha256:
        on_bytes(size)
        return whole
    make_folder(into)
    if part.is_symlink() or (part.exists() and not part.is_file() and not part.is_dir()):
        part.unlink()  # none of ours: a pipe would be waited for, and a link written through
    done = part.stat().st_size if part.is_file() else 0
    if done > size:
        part.unlink()
        done = 0
    on_bytes(done)
    with part.open("ab") as file:
        while done < size:
            chunk = remote.part(name, done, min(CHUNK, size - done))
            if not chunk:
                raise UserError(f"{remote.address} no longer has {name}; push it again from where it was made.")
            file.write(chunk)
            done += len(chunk)
            on_bytes(len(chunk))
        file.flush()
        os.fsync(file.fileno())
    if (found := sha256_file(part)) != sha256:
        part.unlink()
        raise UserError(
            f"{name} of {remote.address} is damaged there (its bytes have the digest {found[:16]}…); "
            "remove it there, and push it again from where it was made."
        )
    part.replace(whole)
    return whole
