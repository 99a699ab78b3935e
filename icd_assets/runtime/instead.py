"""What a download that failed leaves under a file's name."""

from __future__ import annotations

POINTER = b"version https://git-lfs.github.com/spec/"
PAGES = (b"<!doctype html", b"<html", b"<?xml")


def instead(start: bytes) -> str | None:
    """In words what a file is that begins with ``start`` (64 bytes are enough); None for what may be the file."""
    if not start:
        return "it is empty"
    if start.startswith(POINTER):
        return "it is a git-lfs pointer, not the file: run git lfs pull in that folder"
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(PAGES):
        return "it is a web page, as a download without login leaves it"
    return None
