"""Dagster assets for training selectors of in-context demonstrations (ICDs) for vision-language models."""

__version__ = "0.1.0"
