"""A chain drawn as a tree: each artifact once, with who made it and when, and what of its config tells most."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from rich.text import Text
from rich.tree import Tree

from icd_assets.lineage import Artifact
from icd_assets.lineage.target import Target
from icd_assets.lineage.words import STATE_IN_WORDS, moment, run_name
from icd_assets.runtime.foreign import printable
from icd_assets.runtime.provenance import MODEL_SERVER
from icd_assets.store.manifest import Manifest, flatten

_NAMED = (
    "source",
    "path",
    "phase",
    "epoch",
    "sampler",
    "sample_num",
    "pool_size",
    "seed",
    "generation",
    "vlm.prompt",
)


def tree(target: Target) -> Tree:
    root = Tree(_head(target.chain, str(target.file) if target.file else None), guide_style="dim")
    if target.problem:
        root.add(Text(printable(target.problem), "bold red"))
    _fill(root, target.chain, set())
    return root


def _fill(branch: Tree, node: Artifact, met: set[str]) -> None:
    met.add(_identity(node))
    for line in _details(node):
        branch.add(Text(printable(line), "dim"))
    for given in node.inputs.values():
        seen = _identity(given) in met and given.inputs
        inner = branch.add(_head(given, "as above" if seen else None))
        if not seen:
            _fill(inner, given, met)


def _identity(node: Artifact) -> str:
    """Part of an artifact, such as the encoder in a checkpoint, came from what the artifact came from."""
    return node.manifest.build if node.manifest else node.key


def _head(node: Artifact, tail: str | None) -> Text:
    text = Text()
    text.append(printable(node.name), "bold")
    if node.data_version is not None:
        text.append(f"  {printable(node.data_version[:16])}", "cyan")
    if node.created_at is not None:
        text.append(f"  {_moment(node.created_at)}")
    if node.run_id is not None:
        text.append(f"  run {_run(node.run_id)}")
    if node.manifest is not None and node.manifest.origin != "made":
        text.append(f"  {printable(node.manifest.origin)}")
    if tail:
        text.append(f"  {printable(tail)}", "dim")
    if note := STATE_IN_WORDS[node.state]:
        text.append(f"  ({note})", "yellow")
    if node.now is not None:
        what = "the same bytes were made again" if node.state == "current" else f"now {node.now.data_version}"
        by = "adopted" if node.now.run_id is None else f"by run {_run(node.now.run_id)}"
        text.append(f"  [{what} {by}, {_moment(node.now.created_at)}]", "yellow")
    return text


def _run(run_id: str) -> str:
    return printable(run_name(run_id))


def _moment(created_at: str) -> str:
    return printable(moment(created_at))


def _details(node: Artifact) -> Iterator[str]:
    if node.manifest is not None:
        pruned = {record.pruned for record in node.manifest.files if record.pruned}
        names = [record.path for record in node.manifest.files if not record.pruned]
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        at = 0 if node.asset == "v2format_checkpoint" else -1  # the recommended one; of epochs the last
        yield f"{names[at] if names else 'no file left'}{more}"
        if pruned:
            yield f"{sum(1 for r in node.manifest.files if r.pruned)} files pruned, last on {max(pruned)}"
        if said := _server(node.manifest):
            yield f"the model's server: {', '.join(said)}"
        for name, link in node.manifest.tracker_links.items():
            yield f"{name}: {link}"
    if node.manifest is not None and node.manifest.unknown:
        yield f"not known: {', '.join(node.manifest.unknown)}"
    elif node.config is not None:
        flat = flatten(node.config)
        named = [
            f"{n} {shown(v)}" for n, v in flat.items() if any(n == t or n.startswith(t + ".") for t in _NAMED)
        ]
        yield ", ".join([f"code {node.code_version}", *named])
    elif node.config_digest is not None:
        yield f"code {node.code_version}, config {node.config_digest[:16]} (its fields are in the manifest only)"


def _server(manifest: Manifest) -> list[str]:
    """What it said of itself."""
    found = {name: manifest.environment.get(name, "unknown") for name in MODEL_SERVER}
    return [f"{name.removeprefix('vlm_')} {text}" for name, text in found.items() if text != "unknown"]


def shown(value: Any) -> str:
    """A setting's value; a digest by its beginning."""
    if isinstance(value, str):
        return value[:16] if re.fullmatch("[0-9a-f]{40,}", value) else value
    return "–" if value is None else json.dumps(value)
