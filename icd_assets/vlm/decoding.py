"""From a model's scores to an answer, or to how likely one is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from icd_assets.errors import UserError
from icd_assets.vlm.backend import Generation, Likelihood

# Fewer rows of a product take another BLAS kernel, and a result's last bits would depend on the batch.
LEAST_ROWS = 8


class Decoder:
    """Answers by ``generation`` alone, of a model whose own generation_config does not apply."""

    def __init__(self, generation: Generation, model: Any, tokenizer: Any) -> None:
        self.beams = generation.num_beams
        self.new_tokens = generation.max_new_tokens
        self._tokenizer = tokenizer
        # generate() fills what an explicit config leaves open from this one, so it must be ours as well.
        model.generation_config = self._config = _config(generation, model, tokenizer)

    def generated(self, model: Any, inputs: Mapping[str, Any]) -> list[str]:
        """The text that ``model`` writes after each row of ``inputs``: input_ids [B, L], left padded."""
        output: Tensor = model.generate(  # [B, L + new]
            **inputs, generation_config=self._config, logits_processor=LogitsProcessorList([_Numbers()])
        )
        new = output[:, inputs["input_ids"].shape[1] :]
        texts: list[str] = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        return texts


def likelihood(logits: Tensor, end: int, target: tuple[int, ...]) -> Likelihood:
    """``logits``: [P, V]; the ``target`` tokens are predicted by its positions before ``end``."""
    rows = logits[end - len(target) : end].float().log_softmax(dim=-1)
    picked = rows.gather(1, torch.tensor(target, device=rows.device)[:, None])[:, 0]
    if not math.isfinite(logprob := sum(picked.tolist())):
        raise _no_number()
    return Likelihood(logprob=logprob, tokens=len(target))


def _config(generation: Generation, model: Any, tokenizer: Any) -> GenerationConfig:
    """``generation`` as transformers' config; end tokens are the model's and the tokenizer's."""
    stated = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(stated if isinstance(stated, list) else [stated])} - {None}
    beams = {"length_penalty": generation.length_penalty} if generation.num_beams > 1 else {}
    return GenerationConfig(
        do_sample=False,
        num_beams=generation.num_beams,
        max_new_tokens=generation.max_new_tokens,
        min_new_tokens=generation.min_new_tokens or None,
        eos_token_id=sorted(ends),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=model.generation_config.bos_token_id,
        **beams,
    )


class _Numbers(LogitsProcessor):  # type: ignore[misc]
    """Ends the generation where scores are no numbers: transformers would take the first of them for the best."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if scores.isnan().any():
            raise _no_number()
        return scores


def _no_number() -> UserError:
    return UserError(
        "the model computes scores that are no numbers, as its weights may in float16; set its dtype to bfloat16 "
        "or float32 in the catalog, or look at its weights."
    )
