"""Which files of a results folder are looked at at all."""

from __future__ import annotations

from pathlib import Path

from icd_assets.lever_plus.folder import files_under


def test_what_is_ours_unfinished_or_set_aside_is_passed_over(tmp_path: Path) -> None:
    ours = ("a.json.manifest.json", "a.json.manifest.json.pending", "a.json.kept-0123abcd", ".a.json.77-5.tmp")
    others = ("x.json.tmp", "x.pending", "x.previous", "x.kept-copy.json", ".hidden")
    looked_at = ("a.json", "tmp", "kept.json", "x.json.tmp.json")
    for name in (*ours, *others, *looked_at):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    assert sorted(found.path.name for found in files_under(tmp_path, tmp_path)) == sorted(looked_at)
