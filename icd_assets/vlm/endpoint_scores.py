"""An answer's likelihood from vLLM's ``prompt_logprobs``, over exactly the answer's tokens.

A reply lists the token ids of the prompt as the model read it, images widened (``return_token_ids``), and per
token its log-probability given those before it (``prompt_logprobs``). The answer is the last message, left open
(``continue_final_message``): then the last tokens of the prompt are the answer's.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import brief
from icd_assets.vlm.backend import Likelihood
from icd_assets.vlm.endpoint_client import Reply

OPEN_ENDED = {"add_generation_prompt": False, "continue_final_message": True}
# One token is generated, the least that a server takes, and not read.
UNSCORED: dict[str, Any] = {"max_tokens": 1, "temperature": 0, "return_token_ids": True}
SCORED = {**UNSCORED, **OPEN_ENDED, "prompt_logprobs": 1}  # of the token that is there, and of the likeliest


def answer_tokens(alone: Reply, answered: Reply, question: str, answer: str) -> list[int]:
    """What ``answered`` has after its longest common beginning with ``alone``, as in transformers_backend.

    At most one token of the prompt may merge with the answer's first; if more of it is gone, the chat template
    writes an answer elsewhere than where it lets the model answer.
    """
    before, after = _ids(alone), _ids(answered)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))
    common = sum(1 for _ in same)
    if common < len(before) - 1:
        raise UserError(
            f"the server's chat template continues {brief(question)} with {brief(answer)} elsewhere than where "
            "the model answers, so its likelihood cannot be measured; take a model in this process."
        )
    if common == len(after):
        raise UserError(
            f"the answer {brief(answer)} to {brief(question)} has no tokens, so no likelihood; fix or leave "
            "out that annotation."
        )
    return after[common:]


def likelihood(reply: Reply, tokens: list[int]) -> Likelihood:
    """Of ``tokens``, which must be the last of the prompt."""
    ids, logprobs = _ids(reply), reply.prompt_logprobs
    if logprobs is None or len(logprobs) != len(ids):
        raise UserError(
            f"the server gave {len(logprobs or [])} prompt_logprobs for {len(ids)} tokens; set likelihoods: none, "
            "or take a vLLM that gives them for prompts with images."
        )
    if ids[-len(tokens) :] != tokens:
        raise UserError(
            f"the server ends the prompt with the tokens {ids[-len(tokens) :]}, but the answer's are {tokens}; "
            "take a model in this process."
        )
    scored = zip(tokens, logprobs[-len(tokens) :], strict=True)
    picked = [found[token].logprob for token, found in scored if found is not None and token in found]
    if len(picked) != len(tokens):
        raise UserError("the server's prompt_logprobs leave out a token of the prompt; set likelihoods: none.")
    return Likelihood(logprob=sum(picked), tokens=len(tokens))


def _ids(reply: Reply) -> list[int]:
    if not reply.prompt_token_ids:
        raise UserError(
            "the server does not tell the prompt's token ids (return_token_ids); set likelihoods: none, or take a "
            "vLLM that does."
        )
    return reply.prompt_token_ids
