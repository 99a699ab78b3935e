"""A model behind an OpenAI-compatible server, as the catalog names it, and the requests that decode as we say.

Fields beyond OpenAI's are sent by the server's own names, read in its source:
- ``vllm``: the model's generation_config is the server's default, so penalties are set to neutral; beam search
  is ``use_beam_search`` with ``n`` beams, which divides a beam's score by the length of prompt *and* answer
  (vllm/beam_search.py): only ``length_penalty: 0`` means the same there as here.
- ``sglang``: as vllm, without beams.
- ``transformers`` (``transformers serve``): a whole ``generation_config``, so every setting counts.
- ``openai``: any other server; OpenAI's own fields and nothing else.
"""

from __future__ import annotations

import json
from collections import Counter
from importlib.util import find_spec
from typing import Any, Literal, Self, assert_never
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from icd_assets.errors import UserError
from icd_assets.store.digests import sha256_json
from icd_assets.vlm.backend import Generation

Server = Literal["vllm", "sglang", "transformers", "openai"]

_NEUTRAL = {"frequency_penalty": 0, "presence_penalty": 0}
# Of ``name==version``, in what a file and a terminal show as it is.
DECLARED_ENGINE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}==[A-Za-z0-9][A-Za-z0-9._+!-]{0,127}$"
# What a request says by itself: extra_body may not say it once more.
_OURS = {
    *("model", "messages", "stream", "n", "seed", "temperature", "max_tokens", "max_completion_tokens"),
    *("frequency_penalty", "presence_penalty", "repetition_penalty", "min_tokens", "length_penalty"),
    *("use_beam_search", "generation_config", "add_generation_prompt", "continue_final_message"),
    *("prompt_logprobs", "return_token_ids"),
}


class Endpoint(BaseModel):
    """Where a model is served, under which name, and how hard the server may be pressed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    url: str = Field(description="Base of the API, e.g. http://host:8000/v1.")
    replicas: tuple[str, ...] = Field(
        (), max_length=255, description="Further addresses at which the same model is served the same way."
    )
    model: str = Field(description="The name that the server knows the model by.")
    server: Server = Field(description="Which fields beyond OpenAI's the server understands.")
    likelihoods: Literal["none", "vllm"] = Field(
        "none", description="vllm: the server returns prompt_logprobs and token ids, so answers can be scored."
    )
    revision: str | None = Field(None, description="Pin: the revision of the weights that are served.")
    weights_digest: str | None = Field(None, description="Pin: any digest of the weights that are served.")
    engine: str | None = Field(
        None,
        pattern=DECLARED_ENGINE,
        description="Which program answers, as name==version, e.g. vllm==0.11.0: then part of what answers are "
        "known by. A server that says it is another is not asked.",
    )
    deterministic: bool = Field(
        False,
        description="Whether an answer does not depend on what the server computes beside it (vLLM: "
        "VLLM_BATCH_INVARIANT=1, SGLang: --enable-deterministic-inference): part of what answers are known by.",
    )
    api_key_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Name of the environment variable that holds the key; the key itself never stands here.",
    )
    concurrency: int = Field(16, ge=1, le=512, description="Most prompts at each server at once.")
    timeout_seconds: float = Field(120.0, gt=0, le=1e7, description="Longest silence within one try.")
    retries: int = Field(8, ge=0, le=100, description="Tries after the first, with growing pauses.")
    give_up_seconds: float = Field(
        900.0, gt=0, le=1e7, description="Longest wait for one prompt, all tries together."
    )
    skip_refused: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of prompts that the server may refuse (HTTP 400, 413, 422): such a prompt counts as "
        "not answered, is left out of training, and is counted in the artifact's facts; 0: the first one ends "
        "the run. A likelihood that is refused always ends it.",
    )
    extra_body: dict[str, Any] = Field({}, description="Further fields of every request; they may change answers.")

    @field_validator("url")
    @classmethod
    def _one_address(cls, url: str) -> str:
        return _plain_http(url)

    @field_validator("engine")
    @classmethod
    def _in_small_letters(cls, engine: str | None) -> str | None:
        name, _, version = (engine or "").partition("==")
        return f"{name.lower()}=={version}" if engine is not None else None

    @field_validator("replicas")
    @classmethod
    def _addresses(cls, replicas: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_plain_http, replicas))

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if twice := [url for url, count in Counter(self.urls).items() if count > 1]:
            raise ValueError(f"replicas has {twice[0]} twice, or as the url: name each address once")
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """Every address at which the model is served."""
        return (self.url, *self.replicas)

    def at(self, url: str) -> Endpoint:
        """The one server at ``url``."""
        return self.model_copy(update={"url": url, "replicas": ()})

    @field_validator("extra_body")
    @classmethod
    def _not_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if clash := sorted(_OURS & extra.keys()):
            raise ValueError(f"sets {clash[0]}, which the model's generation decides: leave it out")
        return extra

    @property
    def pinned(self) -> bool:
        """Whether the user says which weights are served."""
        return self.revision is not None or self.weights_digest is not None

    @property
    def names_weights(self) -> bool:
        """Whether the server says which weights it loaded under a name: the ``root`` of /v1/models."""
        match self.server:
            case "vllm" | "sglang" | "openai":
                return True
            case "transformers":  # lists what lies in the hub's cache
                return False
            case other:
                assert_never(other)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides an answer: neither where the model is served nor how hard it is pressed.

        What was added later stands here only where it is set: else answers of before would be asked anew.
        """
        declared = {"engine"} if self.engine is not None else set()
        declared |= {"deterministic"} if self.deterministic else set()
        return self.model_dump(include={"model", "server", "revision", "weights_digest", "extra_body", *declared})

    @property
    def digest(self) -> str:
        return sha256_json(["endpoint", self.identity])

    def require_likelihoods(self, why: str) -> None:
        """Raises ``UserError`` if the server cannot score answers."""
        match self.likelihoods:
            case "vllm":
                return
            case "none":
                raise self._no_likelihoods(why)
            case other:
                assert_never(other)

    def decoding(self, generation: Generation) -> dict[str, Any]:
        """The request's fields for ``generation``; raises ``UserError`` if the server cannot do it."""
        common = {"max_tokens": generation.max_new_tokens, "seed": 0}
        plain = {**common, **_NEUTRAL, "temperature": 0}
        greedy = {**plain, "repetition_penalty": 1.0, "min_tokens": generation.min_new_tokens}
        match self.server:
            case "transformers":
                return {**common, "generation_config": json.dumps(_transformers_config(generation))}
            case "vllm":
                return greedy if generation.num_beams == 1 else plain | self._beams(generation)
            case "sglang":
                self._require_greedy(generation)
                return greedy
            case "openai":
                self._require_greedy(generation)
                if generation.min_new_tokens:
                    raise self._cannot("guarantee a shortest answer", "min_new_tokens: 0")
                return plain
            case other:
                assert_never(other)

    def _require_greedy(self, generation: Generation) -> None:
        if generation.num_beams > 1:
            raise self._cannot("be asked for beam search", "num_beams: 1")

    def _beams(self, generation: Generation) -> dict[str, Any]:
        if generation.length_penalty:
            raise self._cannot("leave the prompt out of a beam's length", "length_penalty: 0")
        if generation.min_new_tokens:
            raise self._cannot("guarantee a shortest answer of beam search", "min_new_tokens: 0")
        return {"use_beam_search": True, "n": generation.num_beams, "length_penalty": 0.0}

    def _no_likelihoods(self, why: str) -> UserError:
        return UserError(
            f"{why}, but {self.url} gives no likelihoods of answers (beam_data, the gtprob rewards of rl_data "
            "and the oracle of evaluation need them); import a v2 checkpoint (LEVER_LM_CHECKPOINT_PATH) or "
            "adopt beam data, set oracle_beams to 0, or take a vLLM server with likelihoods: vllm, or a model "
            "with a path."
        )

    def _cannot(self, what: str, setting: str) -> UserError:
        return UserError(
            f"model {self.model}: a server of kind {self.server} cannot {what}; set generation {setting} for "
            "this endpoint in the catalog."
        )


def _plain_http(url: str) -> str:
    """An address as it is kept; ValueError for one that is none."""
    if len(url) > 2000 or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("must be an address of at most 2,000 plain letters, digits and signs")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"is no address ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be http://host or https://host, with the API's path (as a rule /v1)")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("must hold no user, password, query or fragment: name the key by api_key_env")
    return url.rstrip("/")


def _transformers_config(generation: Generation) -> dict[str, Any]:
    """As vlm.model.decoding_config; end tokens are the served model's own."""
    beams = {"length_penalty": generation.length_penalty} if generation.num_beams > 1 else {}
    return {
        "do_sample": False,
        "num_beams": generation.num_beams,
        "max_new_tokens": generation.max_new_tokens,
        "min_new_tokens": generation.min_new_tokens or None,
        "repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        **beams,
    }


def require_client() -> None:
    """Raises ``UserError`` if the package that talks to servers is not there."""
    if find_spec("openai") is None:
        raise UserError("models with an endpoint need the package openai; pip install 'icd-assets[endpoint]'.")
