"""All nine artifacts have the same bytes, however many threads made them, and say how many there were."""

from __future__ import annotations

from pathlib import Path

from icd_assets.experiment.recipes import STEPS_OF
from icd_assets.store.manifest import Manifest
from icd_assets.store.names import MANIFEST
from icd_assets_tests.worlds.workplace import Workplace, new_workplace, shrink


def test_one_and_four_threads(workplace: Workplace, tmp_path: Path) -> None:
    few, many = made(workplace, 1), made(new_workplace(tmp_path / "many"), 4)
    assert set(few) == set(many) == STEPS_OF["beams"] - {"rl_queries"}  # none of their own
    assert {name: one.data_version for name, one in few.items()} == {
        name: one.data_version for name, one in many.items()
    }
    assert few["rl_data"].environment["threads"] == "1"
    assert many["rl_data"].environment["threads"] == "4"


def made(place: Workplace, threads: int) -> dict[str, Manifest]:
    shrink(place)
    # ICD_THREADS too: of OMP_NUM_THREADS, MKL takes no more than the machine has cores.
    counts = dict.fromkeys(("ICD_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    ended = place.train(**counts, OMP_WAIT_POLICY="ACTIVE" if threads > 1 else "PASSIVE", GRPO_EPOCHS="1")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    manifests = [Manifest.model_validate_json(path.read_bytes()) for path in place.results.rglob(f"*{MANIFEST}")]
    return {manifest.spec.asset: manifest for manifest in manifests}
