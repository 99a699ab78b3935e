"""A user's machine after a year of Lever-Plus: datasets and results in upstream's layout (SPEC A.2, B.2), with the
demo's content under the names of OK-VQA and Qwen2.5-VL-3B, blanks and colons included."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from icd_assets.experiment.catalog import CATALOG
from icd_assets_tests.worlds.workplace import ROOT, Workplace

MODEL = "Qwen2_5-VL-3B-Instruct"
CELL = ["vqa", "okvqa_local", "0", "query_img_text_icd_img_text", "rand_sampler", "qwen2.5_vl_3B"]
KEY = f"okvqa|RandSampler/{MODEL}"
POOLS = "cache/okvqa-RandSampler-anchor_sample_num: 24:64.json"
ANCHORS = "cache/okvqa-anchor_sample_num:24.json"
BEAMS = (
    f"generated_data/vqa-okvqa-{MODEL}-RandSampler-scorer:infoscore-construct_order:left-beam_size:5-max_shot:2-"
    "candidate_num:64-sample_num:24.json"
)
V2 = (
    "model_cpk/v2/Qwen2_5_VL_3B_Instruct_RandSampler_infoscore_left_beam5_shot2_cand64_sample24_epoch=12_"
    "train=21.93316_val=21.99296.ckpt"
)
RL_DATA = f"generated_data/rl_data_RandSampler_{MODEL}.json"
V3 = f"model_cpk/v3_RandSampler_{MODEL}"


class LeverPlus(Workplace):
    """The results lie under ``results/okvqa``, the datasets where ``OKVQA_PATH`` and ``COCO_PATH`` say."""

    @property
    def environment(self) -> dict[str, str]:
        paths = {"OKVQA_PATH": str(self.folder / "okvqa"), "COCO_PATH": str(self.folder / "coco")}
        return super().environment | paths

    @property
    def dataset(self) -> Path:
        return self.results / "okvqa"

    def train_cell(self, *flags: str, **variables: str) -> Any:
        return self.run("train", *CELL, *flags, **variables)

    def adopt(self, *flags: str, **variables: str) -> Any:
        return self.run("adopt", "results", *flags, **variables)


def lever_plus_folder(made: Workplace, folder: Path, *, trained: bool = False) -> LeverPlus:
    """``made``: the demo as this project trained it, whose content is taken; ``trained``: its epochs too."""
    folder.mkdir(parents=True)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, folder / name)
    place = LeverPlus(folder)
    _datasets(made.folder / "datasets/demo", folder)
    (folder / "catalog.yaml").write_text(yaml.safe_dump(_catalog(), sort_keys=False), encoding="utf-8")
    ours, theirs = made.results / "demo", place.dataset
    for inside in ("cache", "generated_data", "model_cpk/v2", V3):
        (theirs / inside).mkdir(parents=True)
    shutil.copy(ours / "cache/demo-RandSampler-anchor_sample_num: 24:64.json", theirs / POOLS)
    shutil.copy(ours / "cache/demo-anchor_sample_num:24.json", theirs / ANCHORS)
    for name in ("query_embeddings.pt", "candidate_embeddings.pt"):
        shutil.copy(ours / "cache" / name, theirs / "cache" / name)
    (beams,) = (ours / "generated_data").glob("vqa-demo-*:24.json")
    shutil.copy(beams, theirs / BEAMS)
    rl_data = json.loads((ours / "generated_data/rl_data_RandSampler_tiny_vl.json").read_text(encoding="utf-8"))
    write_json(theirs / RL_DATA, rl_generation(rl_data, 4))
    (v2,) = (ours / "model_cpk/v2").glob("*_best.ckpt")
    write_lightning(theirs / V2, torch.load(v2, weights_only=True))
    if trained:
        for epoch in sorted((ours / "model_cpk/v3_RandSampler_tiny_vl").glob("*_epoch?.pt")):
            torch.save(upstream_epoch(torch.load(epoch, weights_only=True)), theirs / V3 / epoch.name)
    return place


def _datasets(demo: Path, folder: Path) -> None:
    """Official OK-VQA files, and COCO images under COCO's names."""
    official = folder / "okvqa"
    official.mkdir()
    for split, ours, theirs in (("train", "train", "train2014"), ("validation", "val", "val2014")):
        shutil.copy(
            demo / f"OpenEnded_demo_{split}_questions.json",
            official / f"OpenEnded_mscoco_{theirs}_questions.json",
        )
        shutil.copy(
            demo / f"demo_{split}_annotations.json", folder / "okvqa" / f"mscoco_{theirs}_annotations.json"
        )
        images = folder / "coco/mscoco2014" / theirs
        images.mkdir(parents=True)
        for image in (demo / ours).glob("*.jpg"):
            (images / image.name.replace(f"COCO_{ours}_", f"COCO_{theirs}_")).hardlink_to(image)


def _catalog() -> dict[str, Any]:
    """OK-VQA with the demo's encoder and anchors, and Qwen2.5-VL-3B's name for the demo's model."""
    ours = yaml.safe_load(CATALOG.read_text(encoding="utf-8"))
    dataset = ours["datasets"]["okvqa"] | {
        "sample_num": 24,
        "encoder": "tiny_clip",
        "sampler_encoder": "tiny_clip",
        "settings": {
            "beam_data": {"expand": 4},
            "v2_checkpoint": {"epochs": 3, "lr": 0.001},
            "evaluation": {"oracle_beams": 0, "num_queries": 40},
        },
    }
    model = ours["models"]["tiny_vl"] | {"aliases": ours["models"][MODEL]["aliases"]}
    return {"datasets": {"okvqa": dataset}, "models": {MODEL: model}}


def write_json(path: Path, content: Any) -> None:
    """As upstream writes: indented by two."""
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def queries(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if not key.startswith("_")}


def rl_generation(ours: Mapping[str, Any], generation: int) -> dict[str, Any]:
    """The same answers in one of upstream's schemas (SPEC G.7): 2 and 3 global, 4 local, 5 accuracy alone."""
    found: dict[str, Any] = {}
    keep = ("beam_rank", "beam_score", "logprob_score", "temperature", "vqa_pred_answer", "vqa_correct")
    for key, query in queries(ours).items():
        candidates = []
        for candidate in query["pointer_candidates"]:
            rows = candidate["pointer_global"]
            theirs = {n: v for n, v in candidate.items() if n not in ("source", "behavior_logprob", "round")}
            if generation == 2:
                theirs = {n: candidate[n] for n in ("gen_method", *keep, "vqa_acc_score", "vqa_eval_mode")}
                theirs = {"pointer": rows, **theirs}
            elif generation == 3:
                del theirs["pointer_global"]
                theirs |= {"pointer": rows, "pointer_pos": rows}
            elif generation == 5:
                theirs = {"pointer": rows, "vqa_pred_answer": candidate["vqa_pred_answer"]}
                theirs["vqa_acc_score"] = candidate["vqa_acc_score"]
            candidates.append(theirs)
        found[key] = {"query": query["query"], "pointer_candidates": candidates}
        if generation == 4:
            found[key]["candidate_pool_ids"] = query["candidate_pool_ids"]
        elif generation == 2:
            del found[key]["query"]
        elif generation == 5:
            header = {n: query["query"][n] for n in ("query_id", "question_id", "question")}
            answers = [
                {"answer": text, "answer_id": at} for at, text in enumerate(query["query"]["gt_answers_raw"])
            ]
            found[key] = {**header, "gt_answers_raw": answers, "pointer_candidates": candidates}
    meta = {"created_at": "2026-01-02 03:04:05", "vqa_model": "Qwen/Qwen2.5-VL-3B-Instruct", "strict_eval": True}
    if generation in (3, 4):
        return {"_meta": meta, **found}
    return {**found, "_meta": {"pos_ratio_range": [0.4, 0.6], "train_ids": []}} if generation == 5 else found


def legacy_beams(final: Mapping[str, Any]) -> dict[str, Any]:
    """As Lever-LM wrote them."""
    return {key: {name: query[name] for name in ("id_list", "score_list")} for key, query in final.items()}


def write_shards(place: LeverPlus, ranks: int = 3) -> list[Path]:
    """The beam data as the ranks leave them, and the whole file no more (SPEC A.2)."""
    whole = place.dataset / BEAMS
    content = json.loads(whole.read_text(encoding="utf-8"))
    anchors = json.loads((place.dataset / ANCHORS).read_text(encoding="utf-8"))
    folder = whole.parent / "sub_proc_data"
    folder.mkdir()
    paths = []
    for rank in range(ranks):
        start, end = (len(anchors) * rank // ranks, len(anchors) * (rank + 1) // ranks)
        path = folder / f"{whole.name.split('.')[0]}_rank:{rank}_({start}, {end}).json"
        write_json(path, {str(row): content[str(row)] for row in anchors[start:end]})
        paths.append(path)
    whole.unlink()
    return paths


def upstream_epoch(ours: Mapping[str, Any]) -> dict[str, Any]:
    """The five keys of SPEC K.4, and upstream's own metrics."""
    names = ["rce_loss"] if ours["phase"] == "rce" else ["grpo_loss", "ppo_loss", "kl_loss", "kl", "mean_ratio"]
    metrics = {name: ours["metrics"][name] for name in [*names, "val_loss"]}
    return {n: ours[n] for n in ("epoch", "phase", "model_state_dict", "kl_beta")} | {"metrics": metrics}


def write_lightning(path: Path, ours: Mapping[str, Any]) -> None:
    """A v2 checkpoint as upstream's trainer leaves it (SPEC E.4): by the real Lightning, one update of no effect,
    with the real OmegaConf's settings pickled inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning
        from lightning.pytorch.callbacks import ModelCheckpoint
        from omegaconf import OmegaConf

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

        class LeverLM(lightning.LightningModule):
            def __init__(
                self, lever_lm: torch.nn.Module, lr: float, weight_decay: float, warm_steps: float
            ) -> None:
                super().__init__()
                self.save_hyperparameters(ignore=["lever_lm"])
                self.lever_lm = lever_lm

            def training_step(self, batch: Any, batch_idx: int) -> Any:
                loss = 0.0 * torch.stack([parameter.sum() for parameter in self.parameters()]).sum()
                self.log("val_loss", loss + 21.99296)
                return loss

            def configure_optimizers(self) -> Any:
                optimizer = torch.optim.AdamW(self.parameters(), lr=0.0, weight_decay=0.0)
                schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

        class ICDSeqDataModule(lightning.LightningDataModule):
            def __init__(self, cfg: Any) -> None:
                super().__init__()
                self.save_hyperparameters()

            def train_dataloader(self) -> Any:
                return torch.utils.data.DataLoader([0])

        cfg = OmegaConf.create(
            {
                "result_dir": "results",
                "seed": 42,
                "data_files": "vqa-okvqa.json",
                "train": {"lever_lm_ds": {"query_image_field": "image", "threshold": None}},
                "query_encoding_flag": ["image", "text"],
                "icd_encoding_flag": ["image", "text"],
                "trainer_args": {"max_epochs": 1, "devices": [0]},
                "dirpath": "${result_dir}/model_cpk/v2",
            }
        )
        state = {name.removeprefix("lever_lm."): value for name, value in ours["state_dict"].items()}
        trainer = lightning.Trainer(
            max_epochs=1, logger=False, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
            callbacks=[ModelCheckpoint(dirpath=path.parent, filename="unused", monitor="val_loss", save_top_k=0)],
        )  # fmt: skip
        trainer.fit(LeverLM(module_of(state), 1e-4, 1e-3, 0.05), ICDSeqDataModule(cfg))
        trainer.save_checkpoint(path)


def module_of(state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """A module whose ``state_dict`` is this one."""
    found = torch.nn.Module()
    for name, value in state.items():
        *places, last = name.split(".")
        module = found
        for place in places:
            if place not in module._modules:
                module.add_module(place, torch.nn.Module())
            module = module.get_submodule(place)
        if value.is_floating_point():
            module.register_parameter(last, torch.nn.Parameter(value.clone()))
        else:
            module.register_buffer(last, value.clone())
    return found


def write_upstream_v2format(epoch: Path) -> Path:
    """An epoch as Lever-Plus' converter leaves it beside the ``.pt`` (SPEC L.1): attention under its older name
    alone, one layer, no CLIP towers."""
    ours = torch.load(epoch, weights_only=True)
    state = {}
    for name, tensor in ours["model_state_dict"].items():
        older = name.replace("cross_attn_layers.0.", "cross_attn.").replace("attn_norms.0.", "attn_norm.")
        state[f"lever_lm.pointer_selector.{older}"] = tensor
    path = epoch.with_name(f"{epoch.stem}_v2format.ckpt")
    header = {"epoch": ours["epoch"], "global_step": 0, "pytorch-lightning_version": "2.0.0"}
    hyper_parameters = {"lr": 1e-4, "weight_decay": 0.001, "warm_steps": 0.05}
    torch.save({**header, "state_dict": state, "hyper_parameters": hyper_parameters}, path)
    return path
