"""Addresses of anyone's, and what a store refuses: one sentence, and no key in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd_assets.errors import UserError
from icd_assets.remote.place import CHUNK, VARIABLE, Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.open(str(tmp_path / "a b#c%20"), make=True)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "relative/folder",
        "s3://",
        "s3:///prefix",
        "ftp://host/x",
        "http://host/x",
        "memory:///",
        "file://host/x",
        "s3://bucket/../x",
        "s3://[bucket",
        "s3://bucket/\x1b[2Jx",
        "s3://bucket/a\nb",
        "az://account",
    ],
)
def test_what_is_no_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UserError) as caught:
        Place.open(address)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIAEXAMPLE:sesame-open@bucket/x",
        "s3://sesame-open@bucket/x",
        "az://a/b?sig=sesame-open",
        "s3://bucket/x#sesame-open",
    ],
)
def test_a_key_in_an_address_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(UserError, match="keys come from the store's own variables") as caught:
        Place.open(address)
    assert "sesame" not in str(caught.value)


def test_the_variable_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "there"))
    assert Place.open(None).is_empty()


def test_a_name_is_created_once(place: Place) -> None:
    assert place.create("a/b|c: d é.json", b"first")
    assert not place.create("a/b|c: d é.json", b"second")
    assert place.read("a/b|c: d é.json", 100) == b"first"
    assert [entry.name for entry in place.names()] == ["a/b|c: d é.json"]
    assert (
        place.read("a/none", 100) is None and place.size("a/none") is None and place.part("a/none", 0, 5) is None
    )
    with pytest.raises(ValueError, match="5 bytes"):
        place.read("a/b|c: d é.json", 4)


def test_what_ends_half_way_is_not_there(place: Place) -> None:
    def chunks() -> object:
        yield bytes(CHUNK + 1)
        raise UserError("ended")

    with pytest.raises(UserError, match="ended"):
        place.put("blobs/x", chunks())  # type: ignore[arg-type]
    assert place.is_empty()


def test_removing_what_is_gone_removes_the_rest(place: Place) -> None:
    for name in ("a", "b", "c"):
        place.create(name, b"1")
    place.delete(["a", "gone", "b", "c"])
    assert place.is_empty()


def test_a_store_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icd_assets.remote.place._RETRIES", {"max_retries": 0})
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "sesame-open-sesame",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="cannot be reached") as caught:
        Place.open("s3://bucket/prefix").is_empty()
    assert "\n" not in str(caught.value) and "sesame" not in str(caught.value)


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((UserError, OSError)):
        Place.open(str(tmp_path / "file" / "x"), make=True).create("a", b"1")
