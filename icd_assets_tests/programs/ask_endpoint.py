"""Asks ENDPOINT (JSON) 200 questions about IMAGE and keeps the answers in STORE; prints how many came."""

import sys
from pathlib import Path

from icd_assets.vlm.answer_store import AnswerStore
from icd_assets.vlm.backend import Generation
from icd_assets.vlm.cached_backend import CachedBackend
from icd_assets.vlm.endpoint import Endpoint
from icd_assets.vlm.endpoint_backend import EndpointBackend
from icd_assets.vlm.prompts import Prompt, PromptStyle

path, endpoint, image = sys.argv[1:]
backend = EndpointBackend(
    Endpoint.model_validate_json(endpoint), style=PromptStyle(), generation=Generation(num_beams=1)
)
with AnswerStore(Path(path)) as store:
    prompts = [Prompt((), Path(image), f"question {number}") for number in range(200)]
    print(len(CachedBackend(backend, store).generate(prompts)))
