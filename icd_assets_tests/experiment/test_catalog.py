"""Names as users type them, and catalog files as users write them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from icd_assets.errors import UserError
from icd_assets.experiment.catalog import MODELS, Catalog, known_models
from icd_assets.experiment.cell import Cell
from icd_assets.tasks.caption.files import CaptionFiles
from icd_assets.vlm.backends.served import Served
from icd_assets_tests.worlds.captions import dataset_entry

CATALOG = Catalog.load()


@pytest.mark.parametrize(
    ("typed", "cell"),
    [
        (
            ("okvqa_local", "rand_sampler", "qwen2.5_vl_3B"),
            Cell("okvqa", "RandSampler", "Qwen2_5-VL-3B-Instruct"),
        ),
        (
            ("OKVQA_online", "text_sim_sampler", "qwen2_5_vl_3B"),
            Cell("okvqa", "TextSimSampler", "Qwen2_5-VL-3B-Instruct"),
        ),
        (
            ("vqav2_local_sub", "ImgSimSampler", "Qwen2_5-VL-3B-Instruct"),
            Cell("vqav2", "ImgSimSampler", "Qwen2_5-VL-3B-Instruct"),
        ),
        (("demo", "mix_sampler", "tiny_vl"), Cell("demo", "MixSampler", "tiny_vl")),
        (("okvqa", "rand_sampler", "flamingo_3B"), Cell("okvqa", "RandSampler", "flamingo_3B")),
        (
            ("okvqa", "rand_sampler", "Qwen/Qwen2.5-VL-3B-Instruct"),
            Cell("okvqa", "RandSampler", "Qwen2_5-VL-3B-Instruct"),
        ),
        (
            ("okvqa", "rand_sampler", "Qwen2.5-VL-3B-Instruct"),
            Cell("okvqa", "RandSampler", "Qwen2_5-VL-3B-Instruct"),
        ),
        (("coco2014_local", "rand_sampler", "tiny_vl"), Cell("coco2014", "RandSampler", "tiny_vl")),
        (("coco2017", "rand_sampler", "tiny_vl"), Cell("coco2017", "RandSampler", "tiny_vl")),
        (("karpathy_local", "rand_sampler", "tiny_vl"), Cell("coco_karpathy_split", "RandSampler", "tiny_vl")),
        (("karpathy_online", "rand_sampler", "tiny_vl"), Cell("coco_karpathy_split", "RandSampler", "tiny_vl")),
    ],
)
def test_aliases(typed: tuple[str, str, str], cell: Cell) -> None:
    assert CATALOG.cell(*typed) == cell


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (("okvq", "rand_sampler", "tiny_vl"), r"unknown dataset 'okvq': did you mean okvqa"),
        (
            ("demo", "random_sampler", "tiny_vl"),
            r"unknown sampler 'random_sampler': did you mean rand_sampler",
        ),
        (("demo", "rand_sampler", "tiny"), r"unknown model 'tiny': did you mean tiny_vl"),
        (
            ("demo", "rand_sampler", "flamingo_9B_v1"),
            r"flamingo_9B cannot be used: .*; take Qwen2_5-VL-7B",
        ),
        (("demo", "rand_sampler", "idefics_9B"), r"idefics_9B cannot be used: it has no chat template; take Idef"),
        (("demo", "rand_sampler", "Qwen1.5-1.8B"), r"Qwen1_5-1_8B cannot be used: .* sees no images"),
        (("demo", "rand_sampler", "flamingo"), r"unknown model 'flamingo': did you mean flamingo_3B"),
        (
            ("demo", "rand_sampler", "OpenGVLab/InternVL3-1B-hf"),
            r"InternVL3-1B-hf is not in the catalog; copy its entry from .*models\.yaml",
        ),
        (("demo", "rand_sampler", "qwen2.5_vl_7B"), r"Qwen2_5-VL-7B-Instruct is not in the catalog; copy its"),
        (("okvqaX", "rand_sampler", "tiny_vl"), r"unknown dataset 'okvqaX'"),
        (("../../etc", "rand_sampler", "tiny_vl"), r"unknown dataset .*valid: okvqa"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(typed: tuple[str, str, str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        CATALOG.cell(*typed)


def overlay(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_an_overlay_adds_a_model_without_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_MODELS", "/models")
    mine = {
        "models": {
            "mine": {
                "aliases": ["m"],
                "path": "${MY_MODELS}/mine",
                "prompt": {"layout": "turns"},
                "generation": {},
            }
        }
    }
    catalog = Catalog.load(overlay(tmp_path, mine))
    assert catalog.cell("demo", "rand_sampler", "m").model == "mine"
    assert catalog.models["mine"].source == "/models/mine"
    assert "tiny_vl" in catalog.models


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("models: {mine: {path", "is not readable YAML"),
        ("- a\n- b\n", "must hold sections of named entries"),
        ({"models": {"mine": {"path": "x"}}}, r"models\.mine\.aliases: field required"),
        ({"toys": {"a": {}}}, "toys: extra inputs are not permitted"),
        (
            {"models": {"a|b": {"aliases": [], "path": "x", "prompt": {"layout": "turns"}, "generation": {}}}},
            "'a|b'",
        ),
        ({"encoders": {"x": {"path": "${NOT_SET_ANYWHERE}/x"}}}, "NOT_SET_ANYWHERE is not set"),
        ("!!python/object/apply:os.system ['echo hostile']", "is not readable YAML"),
    ],
)
def test_a_bad_overlay_is_one_sentence(tmp_path: Path, content: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence.replace("|", r"\|")):
        Catalog.load(overlay(tmp_path, content))


MODEL = {"aliases": [], "path": "x"}
DATASET = {"alias_prefixes": ["d"], "sample_num": 3, "encoder": "tiny_clip", "sampler_encoder": "tiny_clip"}


def split(images: str) -> dict[str, str]:
    return {"questions": "q", "annotations": "a", "images": images}


@pytest.mark.parametrize(
    "name", ["..", ".", ".x", "a.", "-a", "~a", "a" * 300, "é" * 31, "a\u202eb", "[red]", "a\\b", "", "a b", "a/b"]
)
@pytest.mark.parametrize("kind", ["models", "encoders", "datasets"])
def test_a_name_that_can_be_no_folder(tmp_path: Path, name: str, kind: str) -> None:
    one = split("i/{image_id}")
    entry = {"models": MODEL, "encoders": {"path": "x"}, "datasets": {**DATASET, "train": one, "validation": one}}
    with pytest.raises(UserError, match=r"catalog: the name .*; take another name") as refused:
        Catalog.load(overlay(tmp_path, {kind: {name: entry[kind]}}))
    assert str(refused.value).isprintable() and len(str(refused.value)) < 300


def test_two_long_names_of_one_cell(tmp_path: Path) -> None:
    catalog = Catalog.load(overlay(tmp_path, {"models": {"m" * 60: MODEL}}))
    with pytest.raises(UserError, match="have 65 bytes together"):
        catalog.cell("okvqa", "rand_sampler", "m" * 60)


@pytest.mark.parametrize("size", [0, -8, 2.5, "auto", []])
def test_a_batch_size_that_is_no_number_of_prompts(tmp_path: Path, size: object) -> None:
    with pytest.raises(
        UserError, match=r"models\.m\.batch_size: input should be .*; fix that field\.$"
    ) as refused:
        Catalog.load(overlay(tmp_path, {"models": {"m": {**MODEL, "batch_size": size}}}))
    assert str(refused.value).count("\n") == 0


@pytest.mark.parametrize(
    "images",
    [
        *("{image_id:0999999999d}", "{image_id!r}", "{image_id.__class__}", "{0}", "{}", "{other}", "{image_id"),
        *(
            "{image_id[0]}",
            "{image_id:{image_id}d}",
            "{image_id:>99}",
            "{image_id:033d}",
            "}",
            "~nosuchuser/{image_id}",
        ),
        "x" * 300,
    ],
)
def test_a_pattern_that_is_not_to_be_filled(tmp_path: Path, images: str) -> None:
    mine = {"datasets": {"d": {**DATASET, "train": split("i/{image_id:012d}"), "validation": split(images)}}}
    with pytest.raises(UserError, match=r"datasets\.d\.validation: .*fix that field") as refused:
        Catalog.load(overlay(tmp_path, mine))
    assert len(str(refused.value)) < 700


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("${BIG}" * 10, "characters or more with its variables"),
        ("${" * 50_000, "of which 8,192 are taken"),
        ("${A:-${BIG}${BIG}${BIG}}", "characters or more"),
        ("${NOBODY}/x", "no home folder of '~nosuchuser'"),
        ("${BYTES}/x", "is not UTF-8"),
    ],
)
def test_variables_do_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, sentence: str) -> None:
    monkeypatch.setenv("BIG", "x" * 5000)
    monkeypatch.setenv("NOBODY", "~nosuchuser/a")
    monkeypatch.setenv("BYTES", "/a\udcff")
    with pytest.raises(UserError, match=sentence):
        Catalog.load(overlay(tmp_path, {"models": {"mine": {**MODEL, "path": text}}}))


@pytest.mark.parametrize("prepare", ["x", "os", ":f", "a:b:c", "a b:c"])
def test_prepare_names_a_function(tmp_path: Path, prepare: str) -> None:
    one = split("i/{image_id}")
    mine = {"datasets": {"d": {**DATASET, "prepare": prepare, "train": one, "validation": one}}}
    with pytest.raises(UserError, match=r"datasets\.d\.prepare"):
        Catalog.load(overlay(tmp_path, mine))


def test_a_missing_overlay_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICD_CATALOG", str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="fix ICD_CATALOG"):
        Catalog.load()


def test_names_of_encoders_are_checked(tmp_path: Path) -> None:
    mine = {
        "datasets": {
            "d": {
                "alias_prefixes": ["d"],
                "sample_num": 3,
                "encoder": "tiny_clop",
                "sampler_encoder": "tiny_clip",
                "train": {"questions": "q", "annotations": "a", "images": "i"},
                "validation": {"questions": "q", "annotations": "a", "images": "i"},
            }
        }
    }
    with pytest.raises(UserError, match="unknown encoder of dataset d 'tiny_clop': did you mean tiny_clip"):
        Catalog.load(overlay(tmp_path, mine))


SERVED = {"url": "${MY_SERVER:-http://127.0.0.1:8000}/v1", "model": "Org/Some.Model", "server": "vllm"}


def test_a_served_model_is_an_entry_like_any(tmp_path: Path) -> None:
    catalog = Catalog.load(overlay(tmp_path, {"models": {"mine": {"aliases": ["m"], "endpoint": SERVED}}}))
    for typed in ("mine", "m", "Org/Some.Model", "Some.Model"):
        assert catalog.cell("demo", "rand_sampler", typed).model == "mine"
    backend = catalog.prompted("mine", "caption").backend
    assert isinstance(backend, Served)
    assert backend.endpoint.url == "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "models.mine: value error, a model has exactly one of path, endpoint"),
        (
            {"endpoint": SERVED, "path": "x"},
            "models.mine: value error, a model has exactly one of path, endpoint",
        ),
        (
            {"endpoint": SERVED, "dtype": "float32"},
            "models.mine: value error, dtype is a setting of models with a",
        ),
        ({"path": "x", "api_key_env": "KEY"}, "models.mine.api_key_env: extra inputs are not permitted"),
        ({"path": "x", "dtype": "float8"}, "models.mine.dtype: input should be 'float32', "),
        ({"path": "x", "backend": {}}, "models.mine: value error, backend is no field of a model"),
        ({"endpoint": SERVED | {"url": "http://me:hunter2@host"}}, "models.mine.endpoint.url: value error, must"),
    ],
)
def test_a_model_is_in_one_place(tmp_path: Path, fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        Catalog.load(overlay(tmp_path, {"models": {"mine": {"aliases": [], **fields}}}))
    assert "hunter2" not in str(caught.value)


def test_known_models_can_be_copied_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICD_CATALOG", str(MODELS))
    catalog = Catalog.load()
    for name, entry in known_models().items():
        assert catalog.cell("demo", "rand_sampler", entry.source).model == name
        assert name == entry.source.rpartition("/")[2].replace(".", "_") or entry.unsupported
    assert not set(known_models()) & set(CATALOG.models)
    assert catalog.models["Qwen3-VL-4B-Instruct"].generation == CATALOG.models["Qwen2_5-VL-3B-Instruct"].generation


def test_caption_files_lie_where_lever_plus_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCO_PATH", "/coco")
    monkeypatch.setenv("KARPATHY_COCO_PATH", "/karpathy")
    datasets = Catalog.load().datasets
    files = {name: datasets[name].validation for name in datasets if name.startswith("coco")}
    paths = {name: own.captions for name, own in files.items() if isinstance(own, CaptionFiles)}
    assert paths == {
        "coco2014": "/coco/mscoco2014/annotations/captions_val2014.json",
        "coco2017": "/coco/mscoco2017/annotations/captions_val2017.json",
        "coco_karpathy_split": "/karpathy/dataset_coco.json",
    }
    assert all(datasets[name].sample_num == 5000 for name in paths)


def test_a_task_words_the_prompt_of_any_model() -> None:
    for name, model in CATALOG.models.items():
        assert CATALOG.prompted(name, "vqa") == model
        captioning = CATALOG.prompted(name, "caption")
        assert captioning.prompt.layout == model.prompt.layout
        assert (captioning.prompt.question, captioning.prompt.answer) == ("Caption:{question}", "{answer}")
        assert captioning.generation.max_new_tokens == 20
        assert captioning.generation.num_beams == model.generation.num_beams


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"tasks": {"caption": {"prompt": {"question": "Caption:"}}}}, r"tasks\.caption\.prompt.*must hold"),
        ({"tasks": {"caption": {"generation": {"tokens": 3}}}}, r"tasks\.caption\.generation"),
        ({"tasks": {"count": {}}}, r"tasks\.count"),
    ],
)
def test_a_bad_task_is_one_sentence(tmp_path: Path, content: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Catalog.load(overlay(tmp_path, content))


def test_the_files_are_those_of_the_task(tmp_path: Path) -> None:
    mine = dataset_entry() | {"task": "vqa"}
    with pytest.raises(UserError, match="the task vqa names questions, annotations and images"):
        Catalog.load(overlay(tmp_path, {"datasets": {"mine": mine}}))
