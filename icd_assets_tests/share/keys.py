"""Keys for signatures, generated."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


def new_key(path: Path) -> Path:
    """A private key, and beside it the public one."""
    made = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(private(made))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.with_suffix(".pub").write_bytes(made.public_key().public_bytes(serialization.Encoding.PEM, form))
    return path


def private(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes | None = None) -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
