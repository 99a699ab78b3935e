"""Misspelt variables are named, and those of other tools are left alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from icd_assets.experiment.misspelt_variables import PLACES, known_variables, misspelt
from icd_assets.experiment.settings import environment_fields
from icd_assets_tests.worlds.workplace import ROOT

SLIPS = {
    ("RCE_EPOCH", "3"): "RCE_EPOCHS",
    ("GRPO_EPOCH", "3"): "GRPO_EPOCHS",
    ("GPRO_EPOCHS", "3"): "GRPO_EPOCHS",
    ("HARDWEIGHT", "2"): "HARD_WEIGHT",
    ("SOFT_WEIGTH", "2"): "SOFT_WEIGHT",
    ("rce_epochs", "3"): "RCE_EPOCHS",
    ("RCE-EPOCHS", "3"): "RCE_EPOCHS",
    ("REWARD_MOD", "legacy"): "REWARD_MODE",
    ("REWARD_MODEL", "legacy"): "REWARD_MODE",
    ("NUM_LAYER", "2"): "NUM_LAYERS",
    ("BATCHSIZE", "2"): "BATCH_SIZE",
    ("KLBETA", "0.1"): "KL_BETA",
    ("TEST_DATA_NUMS", "10"): "TEST_DATA_NUM",
    ("LEVER_LM_CHECKPOINT", "x.ckpt"): "LEVER_LM_CHECKPOINT_PATH",
    ("RL_DATA_PTH", "/x/rl.json"): "RL_DATA_PATH",
    ("RESULTS_DIR", "/x/results"): "RESULT_DIR",
    ("RESULT_DRI", "/x/results"): "RESULT_DIR",
    ("RL_DTAA_PATH", "/x/rl.json"): "RL_DATA_PATH",
    ("ICD_CATALOGUE", "/x/mine.yaml"): "ICD_CATALOG",
    ("ICD_LOCKDIR", "/x"): "ICD_LOCK_DIR",
    ("OKVQA_PTH", "/x/okvqa"): "OKVQA_PATH",
    ("COCO_PATHS", "/x/coco"): "COCO_PATH",
}
# As found on a machine where people train: none of it is ours.
OTHERS = {
    "PATH": "/usr/bin",
    "HOME": "/root",
    "PYTHONPATH": "/x",
    "MANPATH": "/x",
    "GOPATH": "/x",
    "SHLVL": "1",
    "HF_HOME": "/x",
    "HF_TOKEN": "x",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_CACHE": "/x",
    "TRANSFORMERS_CACHE": "/x",
    "CUDA_PATH": "/usr/x",
    "CUDA_HOME": "/x",
    "CUDA_VISIBLE_DEVICES": "0",
    "NCCL_DEBUG": "INFO",
    "RANK": "0",
    "EPOCHS": "3",
    "NUM_EPOCHS": "3",
    "PPO_EPOCHS": "4",
    "SFT_EPOCHS": "2",
    "LR": "1",
    "LEARNING_RATE": "1e-4",
    "TRAIN_BATCH_SIZE": "8",
    "MICRO_BATCH_SIZE": "2",
    "NUM_WORKERS": "4",
    "NUM_GPUS": "2",
    "WORLD_SIZE": "2",
    "REWARD_MODEL": "org/reward-model",
    "KL_COEF": "0.1",
    "GRPO_BETA": "0.04",
    "GRPO_NUM_GENERATIONS": "8",
    "DATA_PATH": "/data",
    "MODEL_PATH": "/m",
    "CODE_PATH": "/c",
    "CLIP_PATH": "/c",
    "OUTPUT_DIR": "/o",
    "DATA_DIR": "/x",
    "TEST_DATA_PATH": "/t",
    "COCO_ROOT": "/c",
    "IMAGE_PATH": "/i",
    "WANDB_MODE": "offline",
    "VK_ICD_FILENAMES": "/x",
    "OCL_ICD_VENDORS": "/x",
    "CLASS_WEIGHT": "1",
    "LORA_WEIGHT": "1",
    "USE_PPO": "1",
    "DAGSTER_GRPC_TIMEOUT_SECONDS": "9",
    "DAGSTER_POSTGRES_HOST": "db",
    "OMP_NUM_THREADS": "1",
    "MODE": "x",
}


@pytest.mark.parametrize(("slip", "meant"), SLIPS.items())
def test_a_slip_is_named_with_what_was_meant(slip: tuple[str, str], meant: str) -> None:
    name, value = slip
    assert list(misspelt({name: value})) == [f"{name} is set, but is no setting; did you mean {meant}?"]


def test_variables_of_other_tools_and_our_own_are_passed_over() -> None:
    ours = dict.fromkeys(known_variables({}), "1")
    assert list(misspelt(OTHERS | ours)) == []
    assert list(misspelt({"RCE_EPOCH": ""})) == []  # set to nothing


def test_a_name_that_only_we_could_read_is_named_whatever_was_meant() -> None:
    assert list(misspelt({"RCE_WHATEVER_ELSE": "1"})) == [
        "RCE_WHATEVER_ELSE is set, but is no setting; `icd-assets settings` lists all."
    ]


def test_variables_of_the_users_catalog_are_known(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("datasets: {mine: {train: {questions: '${ICD_MINE_PATH:-x}/q.json'}}}", encoding="utf-8")
    found = {"ICD_CATALOG": str(overlay), "ICD_MINE_PATH": "/x"}
    assert list(misspelt(found)) == []
    assert list(misspelt({**found, "ICD_MINE_PTH": "/x"})) == [
        "ICD_MINE_PTH is set, but is no setting; did you mean ICD_MINE_PATH?"
    ]
    overlay.write_bytes(b"\xff\xfe")
    assert len(list(misspelt(found))) == 1
    assert len(list(misspelt({**found, "ICD_CATALOG": str(tmp_path / "nowhere.yaml")}))) == 1


def test_every_variable_that_the_code_reads_is_known() -> None:
    read = {
        name
        for path in (ROOT / "icd_assets").rglob("*.py")
        for name in re.findall(r'(?:environ(?:\.get\(|\[)|number_from\()"(\w+)"', path.read_text(encoding="utf-8"))
    }
    assert set(PLACES) <= read
    assert {name for name in read if name.startswith("ICD_")} <= known_variables({})
    assert set(environment_fields()) <= known_variables({})
