"""The signature of a folder by a private key, offline: ``model.sig``, as ``model_signing verify key`` reads it."""

from __future__ import annotations

from pathlib import Path

from icd_assets.errors import UserError

NAME = "model.sig"


def require_key(key: Path) -> None:
    """Raises ``UserError`` if the extra is not installed, or ``key`` cannot sign."""
    try:
        from model_signing import signing
    except ImportError:
        raise UserError("signing needs the extra: pip install 'icd-assets[signing]'.") from None
    try:
        signing.Config().use_elliptic_key_signer(private_key=key)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        why = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise UserError(
            f"{key} is no private key that can sign ({why}); give a PEM file of the curve P-256, P-384 or P-521 "
            "that is not encrypted."
        ) from None


def sign(folder: Path, key: Path) -> None:
    """Write ``model.sig`` over all other files of ``folder``."""
    from model_signing import hashing, signing

    ignored = hashing.Config().set_ignored_paths(paths=[NAME])
    config = signing.Config().use_elliptic_key_signer(private_key=key)
    config.set_hashing_config(ignored).sign(folder, folder / NAME)
