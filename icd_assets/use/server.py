"""A cell's selector over HTTP: ``POST /select``, ``GET /health``, and the schema of both at ``/openapi.json``.

One model answers one request at a time. Pictures come in the body; no path or address in a request is followed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from torch import Tensor

from icd_assets import __version__
from icd_assets.errors import UserError
from icd_assets.use.cell_selector import CellSelector
from icd_assets.use.chat import chat
from icd_assets.use.guard import Guard
from icd_assets.use.requests import Answer, Asked, Chosen, Health, Problem, Query
from icd_assets.use.selector import Demonstration, Selector
from icd_assets.use.sent_picture import Pictures
from icd_assets.vlm.prompts import PromptStyle, Shot


def app_of(
    trained: CellSelector,
    train: Sequence[Demonstration],
    *,
    cell: str,
    style: PromptStyle,
    hosts: Sequence[str],
    token: str | None = None,
) -> FastAPI:
    """train: the rows of the selector's library; style: how the cell's model is asked. hosts: names that a request
    may be sent to besides loopback's and numbers, ``*`` for all; token: what it must know."""
    app = FastAPI(title="icd-assets", version=__version__, docs_url=None, redoc_url=None)  # their pages load a CDN
    names = None if "*" in hosts else frozenset(host.lower() for host in hosts)
    app.add_middleware(Guard, names=names, token=token)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UserError, _refused)
    selector, one_at_a_time = trained.library.selector, threading.Lock()
    health = Health(cell=cell, selector=trained.name, rows=len(train), dim=selector.dim)

    @app.get("/health")
    def get_health() -> Health:
        """Whether it answers, and what it answers with."""
        return health

    @app.post("/select", responses={422: {"model": Problem}})
    def post_select(asked: Asked) -> Answer:
        """Which demonstrations to show before a question, out of the cell's train split or of given candidates."""
        with one_at_a_time, TemporaryDirectory() as folder:
            pictures = Pictures(Path(folder))
            try:
                rows, offered = _select(trained, train, asked, pictures)
                shown = [offered[row] for row in rows]
                messages = _messages(asked, shown, style, pictures) if asked.messages else None
            except UserError as error:
                raise UserError(pictures.sentence(error)) from None
        chosen = [
            Chosen(row=row, question=one.question, answer=one.answer) for row, one in zip(rows, shown, strict=True)
        ]
        return Answer(selector=trained.name, demonstrations=chosen, messages=messages)

    return app


def _select(
    trained: CellSelector, train: Sequence[Demonstration], asked: Asked, pictures: Pictures
) -> tuple[tuple[int, ...], Sequence[Demonstration]]:
    """(rows, what they are rows of)"""
    selector = trained.library.selector
    (query,) = _vectors(selector, {"query": asked.query}, pictures)
    if asked.candidates is None:
        return trained.library.select(query, asked.shots, without=asked.without), train
    if asked.without:
        raise UserError("without names rows of the train split, but candidates are given; leave out one of both.")
    named = {f"candidates.{place}": one for place, one in enumerate(asked.candidates)}
    offered = [Shot(pictures.path(name), one.question, one.answer) for name, one in named.items()]
    return selector.select(query, _vectors(selector, named, pictures), asked.shots), offered


def _vectors(selector: Selector, named: Mapping[str, Query], pictures: Pictures) -> Tensor:
    """[n, D], as given or of pictures with their questions."""
    found = torch.empty(len(named), selector.dim)
    seen: dict[int, Shot] = {}
    for place, (name, one) in enumerate(named.items()):
        if one.image is not None:
            seen[place] = Shot(pictures.keep(name, one.image), one.question, "")
            continue
        vector = torch.tensor(one.vector, dtype=torch.float32)
        if len(vector) != selector.dim:
            raise UserError(f"{name}.vector has {len(vector)} numbers; give {selector.dim}.")
        found[place] = vector
    if seen:
        found[list(seen)] = selector.embed(list(seen.values()))
    return found


def _messages(
    asked: Asked, shown: Sequence[Demonstration], style: PromptStyle, pictures: Pictures
) -> list[dict[str, Any]]:
    query = Shot(pictures.path("query"), asked.query.question, "")
    if lacking := [one.image.name for one in (query, *shown) if pictures.lacks(one.image)]:
        raise UserError(f"{lacking[0]} was given without a picture, and messages show it; send the picture.")
    return chat(query, shown, style=style, form="openai")


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    sentence = f"{field}{': ' if field else ''}{first['msg'].removeprefix('Value error, ').lower()}."
    return JSONResponse({"detail": sentence}, 422)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)
