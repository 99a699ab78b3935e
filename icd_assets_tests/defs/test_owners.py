"""Who is asked about the assets."""

from __future__ import annotations

import pytest

from icd_assets.defs.assets.owners import owners
from icd_assets.errors import UserError


def test_owners_are_addresses_and_teams() -> None:
    assert owners({}) == owners({"ICD_OWNERS": " , "}) == []
    assert owners({"ICD_OWNERS": "ada@lab.org, team:vision lab,ada@lab.org"}) == ["ada@lab.org", "team:vision lab"]


@pytest.mark.parametrize("text", ["ada", "ada@lab", "team:", "team: ", "<b>@x.org", "a@b.org;c@d.org", "x" * 9999])
def test_what_is_neither_is_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match=r"^ICD_OWNERS: .* is neither an e-mail address nor team:NAME") as refused:
        owners({"ICD_OWNERS": text})
    assert len(str(refused.value)) < 250


def test_dagster_takes_what_we_take() -> None:
    import dagster as dg

    taken = owners({"ICD_OWNERS": "ada.l+x@cs.lab-7.org,team:vision lab"})
    assert list(dg.AssetSpec("a", owners=taken).owners) == taken
