from __future__ import annotations

import subprocess
from typing import Any

from icd_assets.selector import config
from icd_assets_tests.programs import program


def test_settings_need_no_torch() -> None:
    command = program("heavy_imports", "icd_assets.selector.config")
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_lever_plus_preset_names_real_fields_and_differs_from_ours() -> None:
    for name, values in config.LEVER_PLUS.items():
        model = getattr(config, name)
        upstream, ours = model(**values), model()
        assert all(getattr(upstream, field) == value for field, value in values.items())
        assert upstream != ours


def test_environment_names_of_lever_plus_are_heard() -> None:
    used = set[str]()
    for model in (config.SftConfig, config.RceConfig, config.GrpoConfig):
        for field in model.model_fields.values():
            if isinstance(extra := field.json_schema_extra, dict):
                names: Any = [extra["env"], *extra.get("also", [])]  # type: ignore[misc]
                used |= {*names}
    assert used == {
        "RCE_EPOCHS", "RCE_LR", "BATCH_SIZE", "NUM_LAYERS", "RCE_TEMP_START", "RCE_TEMP_END",
        "RCE_USE_RAW_REWARD", "RCE_USE_NORMALIZED_REWARD", "GRPO_EPOCHS", "GRPO_LR", "KL_BETA",
        "USE_RANK_ADVANTAGE", "USE_PPO_CLIP", "USE_PPO_CLIP_ONLY", "PPO_CLIP_RATIO", "CLIP_EPSILON",
        "FREEZE_BACKBONE_IN_GRPO",
        "SKIP_FALLBACK_REWARD", "REQUIRE_POSITIVE_QUERY",
    }  # fmt: skip


def test_every_field_is_described_in_a_sentence() -> None:
    models = (config.SelectorConfig, config.ProposalConfig, config.SftConfig, config.RceConfig, config.GrpoConfig)
    for model in models:
        for field in model.model_fields.values():
            assert field.description
            assert field.description.endswith(".")


def test_the_launchpad_shows_the_schedule_of_sft_before_the_selectors_shape() -> None:
    shape = list(config.SelectorShape.model_fields)
    fields = list(config.SftConfig.model_fields)
    assert fields[:5] == ["epochs", "lr", "weight_decay", "warmup_fraction", "batch_size"]
    assert fields[5 : 5 + len(shape)] == shape
