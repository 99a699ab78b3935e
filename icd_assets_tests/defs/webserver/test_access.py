"""What the variables of the UI may hold, and when a token is needed."""

from __future__ import annotations

import pytest

from icd_assets.defs.webserver.access import Access
from icd_assets.errors import UserError
from icd_assets.runtime.http_callers import is_loopback

SECRET = "0123456789abcdef"


def test_without_variables_it_is_open_to_this_machine() -> None:
    assert (
        Access.read({})
        == Access()
        == Access.read({"ICD_UI_HOSTS": " , ", "ICD_UI_TOKEN": "", "ICD_UI_BEHIND_PROXY": "0"})
    )


def test_the_variables_are_read() -> None:
    given = {"ICD_UI_HOSTS": "GPU7.lab.org., icd", "ICD_UI_TOKEN": SECRET, "ICD_UI_BEHIND_PROXY": "true"}
    assert Access.read(given) == Access(frozenset({"gpu7.lab.org", "icd"}), SECRET, True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("ICD_UI_HOSTS", text)
            for text in ("http://gpu7", "gpu7:3000", "*", "a b", "-a", "ß", "a/../b", "a" * 999)
        ),
        *(("ICD_UI_TOKEN", text) for text in ("tiny", "with a blank in it", "0123456789abcde\n", "ß" * 16)),
        *(("ICD_UI_BEHIND_PROXY", text) for text in ("yes please", "2")),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(name: str, value: str) -> None:
    with pytest.raises(UserError) as refused:
        Access.read({name: value})
    sentence = str(refused.value)
    assert sentence.startswith(name) and sentence.endswith(".") and "\n" not in sentence and len(sentence) < 300
    assert name != "ICD_UI_TOKEN" or value not in sentence  # a secret is in no log


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "::ffff:127.0.0.1"])
def test_loopback_needs_nothing(host: str) -> None:
    assert is_loopback(host)
    Access().require_for(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "gpu7", "::ffff:10.1.2.3", "localhost.lab.org"])
def test_beyond_it_a_token_or_a_proxy_is_needed(host: str) -> None:
    with pytest.raises(UserError, match="ICD_UI_TOKEN"):
        Access(frozenset({host})).require_for(host)
    Access(token=SECRET).require_for(host)
    Access(behind_proxy=True).require_for(host)
