"""What stands beside a number in the UI says what it counts."""

from __future__ import annotations

import pytest

from icd_assets.defs.assets.metadata import _facts


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("accuracy_beam", "accuracy_beam (share)"),
        ("accuracy image similarity", "accuracy image similarity (share)"),
        ("candidates", "candidates (pointers)"),
        ("candidates_random", "candidates_random (pointers)"),
        ("train_rows", "train_rows (questions)"),
        ("val_expected_reward", "val_expected_reward (reward units)"),
        ("epochs", "epochs"),
        ("widths", "widths"),
        ("accuracyless", "accuracyless"),
    ],
)
def test_a_number_has_its_unit(name: str, shown: str) -> None:
    found = _facts("embeddings", {"rows": 3, name: 0.123456})
    assert found == {"dagster/row_count": 3, shown: 0.1235}
