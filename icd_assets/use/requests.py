"""What is asked over HTTP and what is answered: the schema at ``/openapi.json``."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Row = Annotated[int, Field(ge=0, lt=2**31)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Query(_Body):
    """A question about a picture, or its vector."""

    question: str = Field("", max_length=10_000, description="The question; empty where pictures are captioned.")
    image: str | None = Field(None, description="The picture, PNG, JPEG or WebP: a data URL, or base64.")
    vector: list[FiniteFloat] | None = Field(
        None, max_length=16_384, description="In place of picture and question: its unit vector by the encoder."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.image is None) == (self.vector is None):
            raise ValueError("give either an image or a vector")
        return self


class Candidate(Query):
    """What may be shown."""

    answer: str = Field("", max_length=10_000, description="The answer that it shows.")


class Asked(_Body):
    """The body of ``POST /select``."""

    query: Query = Field(description="What is asked.")
    candidates: list[Candidate] | None = Field(
        None, min_length=1, max_length=1024, description="What to choose from; left out: the cell's train split."
    )
    shots: int = Field(2, ge=1, le=64, description="How many demonstrations to choose.")
    without: list[Row] = Field(
        [], max_length=100_000, description="Rows of the train split that may not be shown."
    )
    messages: bool = Field(False, description="Whether to answer with the whole prompt too; needs pictures.")


class Chosen(BaseModel):
    """One demonstration."""

    row: int = Field(description="Its row in the train split, or its position among the candidates.")
    question: str = Field(description="Its question.")
    answer: str = Field(description="Its answer.")


class Answer(BaseModel):
    """What ``POST /select`` answers."""

    selector: str = Field(description="As the evaluation's table calls it.")
    demonstrations: list[Chosen] = Field(description="In prompt order.")
    messages: list[dict[str, Any]] | None = Field(
        None, description="Chat messages as an OpenAI client and vLLM take them, pictures as data URLs."
    )


class Health(BaseModel):
    """What ``GET /health`` answers."""

    status: str = Field("ok", description="That it answers.")
    cell: str = Field(description="Its key.")
    selector: str = Field(description="As the evaluation's table calls it.")
    rows: int = Field(description="Of the train split.")
    dim: int = Field(description="Numbers in a vector.")


class Problem(BaseModel):
    """Of every answer but 200."""

    detail: str = Field(description="One sentence.")
