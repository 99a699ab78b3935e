"""Paths are Lever-Plus' own (SPEC A.2), blanks and colons included."""

from __future__ import annotations

from pathlib import Path

import pytest

from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.paths import CellPaths

CATALOG = Catalog.load()


def paths(sampler: str = "rand_sampler", suffix: str = "") -> CellPaths:
    cell = CATALOG.cell("okvqa_local", sampler, "qwen2.5_vl_3B")
    dataset, model = CATALOG.datasets[cell.dataset], CATALOG.models[cell.model]
    return CellPaths(Path("results"), cell, dataset, model, suffix=lambda: suffix)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (paths().anchors, "cache/okvqa-anchor_sample_num:800.json"),
        (paths().train_pools, "cache/okvqa-RandSampler-anchor_sample_num: 800:64.json"),
        (paths("mix_sampler").train_pools, "cache/okvqa-MixSampler-anchor_sample_num: 800:64-.json"),
        (paths().query_embeddings, "cache/query_embeddings.pt"),
        (
            paths("text_sim_sampler").beam_data,
            "generated_data/vqa-okvqa-Qwen2_5-VL-3B-Instruct-TextSimSampler-scorer:infoscore-"
            "construct_order:left-beam_size:5-max_shot:2-candidate_num:64-sample_num:800.json",
        ),
        (paths().rl_data, "generated_data/rl_data_RandSampler_Qwen2_5-VL-3B-Instruct.json"),
        (
            paths().v2_checkpoint,
            "model_cpk/v2/Qwen2_5_VL_3B_Instruct_RandSampler_infoscore_left_beam5_shot2_cand64_sample800_best.ckpt",
        ),
        (
            paths().epoch_checkpoint("rce", 5),
            "model_cpk/v3_RandSampler_Qwen2_5-VL-3B-Instruct/rce_epoch5.pt",
        ),
        (
            paths(suffix="_h2.0_s1.0").epoch_checkpoint("grpo", 1),
            "model_cpk/v3_RandSampler_Qwen2_5-VL-3B-Instruct_h2.0_s1.0/grpo_epoch1.pt",
        ),
    ],
)
def test_names(found: Path, expected: str) -> None:
    assert found == Path("results/okvqa") / expected
