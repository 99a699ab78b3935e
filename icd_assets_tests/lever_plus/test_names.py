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
    ],
)
def test_other_settings_are_named(path: str, says: str) -> None:
    name = read_name(PurePath(path), "okvqa")
    assert isinstance(name, Name)
    assert name.fits(experiment())
    assert says in (name.of_other_settings(experiment()) or "")


@pytest.mark.parametrize(
    "suffix", ["", "_h2.0_s0.5", "_h2_s1.0", "_h1.50_s1", "_hard_only", "_kl012", "_legacy_a"]
)
def test_a_v3_folder_is_of_its_cell_whatever_it_says_of_reward_and_experiment(suffix: str) -> None:
    name = read_name(PurePath(f"model_cpk/v3_RandSampler_Qwen2_5-VL-3B-Instruct{suffix}/rce_epoch1.pt"), "okvqa")
    assert isinstance(name, Name)
    assert name.fits(experiment())
    assert name.of_other_settings(experiment()) is None
    assert name.suffix(experiment()) == suffix


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
