"""A cell is one (dataset, sampler, model); this module alone knows how it is spelled as a partition key."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One (dataset, sampler, model), each by the name that files carry (SPEC A.1).

    >>> Cell.parse("okvqa|RandSampler/Qwen2_5-VL-3B-Instruct").sampler
    'RandSampler'
    """

    dataset: str
    sampler: str
    model: str

    @property
    def sampler_model(self) -> str:
        """What folders and tables call the cell within its dataset."""
        return f"{self.sampler}/{self.model}"

    @property
    def key(self) -> str:
        """The partition key, by which Dagster's history knows the cell."""
        return f"{self.dataset}|{self.sampler_model}"

    @classmethod
    def parse(cls, key: str) -> Cell:
        """Inverse of :attr:`key`; raises ``ValueError``."""
        try:
            dataset, sampler_model = key.split("|")
            sampler, model = sampler_model.split("/")
        except ValueError:
            raise ValueError(f"not a partition key of the form dataset|sampler/model: {key!r}") from None
        return cls(dataset, sampler, model)

    def __str__(self) -> str:
        return self.key
