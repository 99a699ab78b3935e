"""File names of Lever-Plus, in the spellings that its versions used, and what is no artifact of ours."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from icd_assets.experiment.catalog import Catalog
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import read_settings
from icd_assets.lever_plus.names import Name, read_name

CATALOG = Catalog.load()
BEAMS = "vqa-okvqa-{model}-RandSampler-scorer:{blank}infoscore-construct_order:left-beam_size:5-{shot}_shot:2-"
BEAMS += "candidate_num:64-sample_num:800{shard}.json"
V2 = "Qwen2_5_VL_3B_Instruct_{sampler}_infoscore_left_beam5_shot2_cand64_sample{n}{rest}.ckpt"


def experiment(sampler: str = "rand_sampler", **environment: str) -> Experiment:
    cell = CATALOG.cell("okvqa_local", sampler, "qwen2.5_vl_3B")
    return Experiment.open(cell, read_settings(environment=environment), Path("results"), CATALOG)


def beams(model: str = "Qwen2_5-VL-3B-Instruct", blank: str = "", shot: str = "max", shard: str = "") -> str:
    return BEAMS.format(model=model, blank=blank, shot=shot, shard=shard)


@pytest.mark.parametrize(
    ("path", "asset"),
    [
        ("cache/okvqa-anchor_sample_num:800.json", "candidate_pools"),
        ("cache/okvqa-anchor_sample_num: 800.json", "candidate_pools"),
        ("cache/okvqa-RandSampler-anchor_sample_num: 800:64.json", "candidate_pools"),
        ("cache/okvqa-RandSampler-anchor_sample_num:800:64-.json", "candidate_pools"),
        ("cache/query_embeddings.pt", "embeddings"),
        (f"generated_data/{beams()}", "beam_data"),
        (f"generated_data/{beams(shot='few')}", "beam_data"),
        (f"generated_data/{beams(model='Qwen2.5-VL-3B-Instruct', blank=' ')}", "beam_data"),
        (f"generated_data/sub_proc_data/{beams(shard='_rank:0_(0, 400)')}", "beam_data"),
        ("generated_data/rl_data_RandSampler_Qwen2_5-VL-3B-Instruct.json", "rl_data"),
        ("model_cpk/v2/" + V2.format(sampler="RandSampler", n=800, rest="_best"), "v2_checkpoint"),
        (
            "model_cpk/v2/"
            + V2.format(sampler="RandSampler", n=800, rest="_epoch=12_train=21.93316_val=21.99296"),
            "v2_checkpoint",
        ),
        ("model_cpk/v3_RandSampler_Qwen2_5-VL-3B-Instruct/rce_epoch12.pt", "rce_checkpoints"),
        ("model_cpk/v3_RandSampler_Qwen2_5-VL-3B-Instruct/grpo_epoch1.pt", "grpo_checkpoints"),
    ],
)
def test_artifacts_of_a_cell(path: str, asset: str) -> None:
    name = read_name(PurePath(path), "okvqa")
    assert isinstance(name, Name), name
    assert name.asset == asset
    assert name.fits(experiment())
    assert name.fits(experiment("mix_sampler")) == (name.sampler is None)
    assert name.of_other_settings(experiment()) is None


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("model_cpk/v2/" + V2.format(sampler="RandSampler", n=5000, rest=""), "sample_num: 5000 in the catalog"),
        ("cache/okvqa-RandSampler-anchor_sample_num: 800:32.json", "--set shared.pool_size=32"),
        (
            "model_cpk/v3_RandSampler_Qwen2_5-VL-3B-Instruct_h2.0_s0.5/rce_epoch1.pt",
            "HARD_WEIGHT=2.0 SOFT_WEIGHT=0.5",
        ),
        ("model_cpk/v3_RandSampler_Qwen2_5-VL-3B-Instruct_hard_only/rce_epoch1.pt", "REWARD_MODE=hard_only"),
        ("model_cpk/v3_RandSampler_Qwen2_5-VL-3B-Instruct_kl012/grpo_epoch2.pt", "'_kl012'"),
    ],
)
def test_other_settings_are_named(path: str, says: str) -> None:
    name = read_name(PurePath(path), "okvqa")
    assert isinstance(name, Name)
    assert name.fits(experiment())
    assert says in (name.of_other_settings(experiment()) or "")


def test_the_named_reward_is_the_one_that_fits() -> None:
    name = read_name(PurePath("model_cpk/v3_RandSampler_Qwen2_5-VL-3B-Instruct_hard_only/rce_epoch1.pt"), "okvqa")
    assert isinstance(name, Name)
    assert name.of_other_settings(experiment(REWARD_MODE="hard_only")) is None
    plain = read_name(PurePath("model_cpk/v3_RandSampler_Qwen2_5-VL-3B-Instruct/rce_epoch1.pt"), "okvqa")
    assert isinstance(plain, Name)
    assert "REWARD_MODE=hard_plus_soft" in (plain.of_other_settings(experiment(REWARD_MODE="hard_only")) or "")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("generated_data/rl_data_k64_v3_balanced.json", "RL_DATA_PATH="),
        ("generated_data/rl_data_RandSampler.json", "RL_DATA_PATH="),
        ("generated_data/rl_data_shards/shard_gpu3.json", "RL_DATA_PATH="),
        ("generated_data/" + beams().replace("infoscore", "cider"), "another scorer"),
        ("generated_data/" + beams(shard="_rank:0_(0, 400)"), "does not lie where"),
        ("cache/vqa-okvqa-clip-vit-large-patch14-TextFeatures.pth", "computed anew"),
        ("model_cpk/v2/my_favorite.ckpt", "LEVER_LM_CHECKPOINT_PATH="),
        ("model_cpk/v2_lora/x.ckpt", "LoRA is not supported"),
        ("model_cpk/v1/x.ckpt", "another selector"),
        ("model_cpk/v3/rce_epoch1.pt", "its cell is not known"),
        ("model_cpk/v3_RandSampler_Qwen2_5-VL-3B-Instruct/grpo_epoch1_v2format.ckpt", "converted anew"),
        ("icl_inference/v3/x_metrics.json", "measures anew"),
        ("cache/vqav2-RandSampler-anchor_sample_num: 800:64.json", "no file of the pipeline"),
        ("notes.txt", "no file of the pipeline"),
        ("..", "no file of the pipeline"),
    ],
)
def test_what_a_year_leaves_besides(path: str, says: str) -> None:
    found = read_name(PurePath(path), "okvqa")
    assert isinstance(found, str)
    assert says in found


def test_rl_data_that_end_like_a_model_are_of_no_cell() -> None:
    name = read_name(PurePath("generated_data/rl_data_RandSampler_v4_strictEval.json"), "okvqa")
    assert isinstance(name, Name)
    assert not name.fits(experiment())
