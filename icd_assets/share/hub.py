"""A folder put into a repository of the hub, as one commit or none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from icd_assets.errors import UserError
from icd_assets.runtime.secrets import redacted_line
from icd_assets.share.signature import NAME as SIGNATURE

Kind = Literal["model", "dataset"]


class Uploaded(NamedTuple):
    """``commit`` is what the repository is at now; ``new``: this upload made it."""

    url: str
    commit: str
    new: bool


def require_repo_id(text: str) -> None:
    """Raises ``UserError`` unless ``text`` names an owner and a repository as the hub spells them."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(text)
        if re.fullmatch(r"[\w.-]+/[\w.-]+", text, re.ASCII) is None:
            raise HFValidationError("no owner")
    except HFValidationError:
        raise UserError(
            f"{text!r} is no id of a repository on the hub; write OWNER/NAME, of letters, digits, '-', '_', '.'."
        ) from None


def require_token() -> None:
    """Raises ``UserError`` if nobody is logged in, or the hub may not be asked."""
    from huggingface_hub import constants, get_token

    if constants.is_offline_mode():
        raise UserError("HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it.")
    if get_token() is None:
        raise UserError("there is no token for the hub; run hf auth login, or set HF_TOKEN to one that may write.")


def upload(folder: Path, repo_id: str, *, kind: Kind, private: bool) -> Uploaded:
    """The files of ``folder`` in the repository, which is made if it is not there. Other files there stay, but for
    a signature that no longer fits.

    Raises ``UserError`` for whatever the hub answers but yes. Then it has the new files or none.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    with _explained(repo_id):
        url = str(api.create_repo(repo_id, repo_type=kind, private=private or None, exist_ok=True))
        before = api.model_info(repo_id) if kind == "model" else api.dataset_info(repo_id)
        if private and not before.private:
            raise UserError(f"{repo_id} is there already and public; make it private on the hub, or name another.")
        names = sorted(path.name for path in folder.iterdir())
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names
        ]
        if SIGNATURE not in names and any(one.rfilename == SIGNATURE for one in before.siblings or ()):
            operations.append(CommitOperationDelete(path_in_repo=SIGNATURE))
        # One commit: upload_folder may split it, and a card without its weights would be published.
        commit = api.create_commit(repo_id, operations, commit_message="Publish with icd_assets", repo_type=kind)
    return Uploaded(url, str(commit.oid), commit.oid != before.sha)


@contextmanager
def _explained(repo_id: str) -> Iterator[None]:
    """What the hub, or the way to it, raises as one sentence."""
    from huggingface_hub.errors import HfHubHTTPError

    lost: tuple[type[Exception], ...] = (HfHubHTTPError.__mro__[1], OSError)  # the first is its HTTP client's own
    again = "nothing of yours is lost, and the same command tries again"
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        known = {
            401: "the hub does not take the token; run hf auth login, or set HF_TOKEN to one that may write",
            403: "the token may not write there; take one with the right to write, or another owner",
            404: "the hub has no such repository for this token; check the owner and the token's rights",
        }
        why = known.get(status, f"the hub answered {status}, {_why(error)}; {again}")
        raise UserError(f"{repo_id} was not published: {why}.") from None
    except lost as error:
        raise UserError(f"{repo_id} was not published: the hub was lost, {_why(error)}; {again}.") from None
    except (RuntimeError, ValueError, KeyError) as error:  # of an upload in the middle, metadata, a foreign answer
        why = _why(error.__cause__ if isinstance(error.__cause__, Exception) else error)
        raise UserError(f"{repo_id} was not published: the hub did not take it, {why}; {again}.") from None


def _why(error: Exception) -> str:
    """The first line of it, without the token."""
    from huggingface_hub import get_token

    keys = [token] if (token := get_token()) else []
    return redacted_line(error, keys)
