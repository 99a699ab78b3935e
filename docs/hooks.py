"""What the pages say about the code is taken from the code: mkdocs calls these functions while it builds.

A page holds markers: ``<!-- table: settings -->`` becomes the table that :data:`TABLES` has under that name,
``<!-- picture: architecture -->`` the picture of that name, with the page's colors, and
``<!-- measured: training -->`` what that script of ``benchmarks/`` printed when it was run for the page.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

from mkdocs.structure.files import File
from mkdocs.utils import get_relative_url
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import icd_assets
from icd_assets.experiment.settings import PRESETS
from icd_assets.experiment.settings_table import Setting, every_setting
from icd_assets.experiment.steps import STEPS, sections
from icd_assets.pools.config import SAMPLERS
from icd_assets.scoring.rewards import REWARD_MODES
from icd_assets.scoring.rl_data import AnsweredPointer, RlQuery
from icd_assets.selector.metrics import METRICS
from icd_assets.store.manifest import FileRecord, Input, Manifest, Spec
from icd_assets.use.requests import Answer, Asked, Candidate, Chosen, Health

ROOT = Path(__file__).parent.parent
_MARKER = re.compile(r"<!-- (table|picture|measured): ([\w./ ]+?) -->")
_ARXIV = re.compile(r"\barXiv[: ](\d{4}\.\d{5})\b")
_CITATION = re.compile(r"\bSPEC ([A-Q])(?:\.(\d))?(?:-(\d+))?")


# -- what mkdocs calls ---------------------------------------------------------------------------------------


def on_files(files: Any, config: Any) -> Any:
    """The changelog and what is trusted are pages; they lie where people look for them."""
    for name in ("CHANGELOG.md", "SECURITY.md"):
        files.append(File.generated(config, name.lower(), abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Markers replaced; one that names nothing ends the build. A link into this folder is one from it."""
    markdown = markdown.replace("](docs/", "](")
    return _MARKER.sub(lambda marker: _filled(marker[1], marker[2]), markdown)


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """``SPEC K.3-2`` leads to that item of the page about Lever-Plus, ``arXiv:2402.03300`` to the paper."""
    lever_plus = get_relative_url("lever_plus.html", page.url)
    html = _CITATION.sub(lambda cited: f'<a href="{lever_plus}#{anchor(cited)}">{cited[0]}</a>', html)
    return _ARXIV.sub(r'<a href="https://arxiv.org/abs/\1">\g<0></a>', html)


def anchor(citation: re.Match[str]) -> str:
    """``SPEC O.2-7`` → ``o2-7``"""
    letter, section, item = citation.groups()
    return letter.lower() + (section or "") + (f"-{item}" if item else "")


def _filled(kind: str, name: str) -> str:
    if kind == "picture":
        lines = (ROOT / "docs" / "pictures" / f"{name}.svg").read_text(encoding="utf-8").splitlines()
        return f'<figure class="{name}">\n' + "\n".join(line for line in lines if line.strip()) + "\n</figure>"
    if kind == "measured":
        return (ROOT / "docs" / "measured" / f"{name}.txt").read_text(encoding="utf-8").strip()
    table, _, argument = name.partition(" ")
    if table not in TABLES:
        raise KeyError(f"there is no table {table!r}; known: {', '.join(TABLES)}")
    return TABLES[table](argument)


# -- tables --------------------------------------------------------------------------------------------------


def settings_tables(_: str = "") -> str:
    """A heading and a table per section of settings."""
    settings = every_setting()
    return "\n\n".join(
        f"## {section} {{#{section}}}\n\n{_first_sentence(model)}\n\n"
        + _table(
            ("field", "default", "variable, flag", "meaning"),
            (_setting_row(setting) for setting in settings if setting.section == section),
        )
        for section, model in sections().items()
    )


def _setting_row(setting: Setting) -> tuple[str, str, str, str]:
    names = f"`{setting.variable}`<br>`{setting.flag}`" if setting.variable is not None else ""
    choices = " · ".join(f"`{choice}`" for choice in setting.choices)
    text = f"{setting.meaning}<br>{choices or setting.allowed}"
    return f'<a id="{setting.name}"></a>`{setting.field}`', _shown(setting.default), names, text


def presets_table(_: str = "") -> str:
    """Every value that a preset sets."""
    rows = [
        (f"`{preset}`", f"[`{section}.{field}`](settings.md#{section}.{field})", _shown(value))
        for preset, groups in PRESETS.items()
        for section, values in groups.items()
        for field, value in values.items()
    ]
    return _table(("preset", "setting", "value"), rows)


def upstream_table(section: str) -> str:
    """Where our default of one step differs from Lever-Plus' arithmetic, for a page in a folder."""
    model = sections()[section]
    rows = [
        (
            f"[`{field}`](../settings.md#{section}.{field})",
            _shown(model.model_fields[field].default),
            _shown(value),
        )
        for field, value in PRESETS["lever_plus"][section].items()
        if model.model_fields[field].default != value
    ]
    return _table(("setting", "default", "upstream (`--preset lever_plus`)"), rows)


def steps_table(_: str = "") -> str:
    """The steps in order, and what each reads."""
    rows = [
        (f"[`{step.name}`](settings.md#{step.name})", ", ".join(step.parents) or "–", step.description)
        for step in STEPS
    ]
    return _table(("step", "reads", "what it is"), rows)


def metrics_table(_: str = "") -> str:
    """Every number of a training epoch."""
    return _table(("metric", "meaning"), [(f"`{name}`", meaning) for name, meaning in METRICS.items()])


def samplers_table(_: str = "") -> str:
    """The samplers of the candidate pools."""
    rows = [(f"`{sampler.name}`", f"`{sampler.alias}`", sampler.description) for sampler in SAMPLERS.values()]
    return _table(("sampler", "on the command line", "candidates"), rows)


def rewards_list(_: str = "") -> str:
    """The reward modes."""
    return ", ".join(f"`{mode}`" for mode in REWARD_MODES)


def public_table(_: str = "") -> str:
    """What ``import icd_assets`` offers, each with the first sentence that it says of itself."""
    return _table(("name", "what it is"), (_public_row(getattr(icd_assets, name)) for name in icd_assets.__all__))


def _public_row(public: Any) -> tuple[str, str]:
    name, first = public.__name__, (inspect.getdoc(public) or "").split("\n\n")[0].replace("\n", " ")
    return f"[`{name}`][{public.__module__}.{name}]", first


def fields_table(name: str) -> str:
    """The fields of a record that stands in a file, as the file spells them."""
    return _table(("field", "type", "default", "meaning"), _fields_of(RECORDS[name]))


def request_table(name: str) -> str:
    """The fields of what is asked and answered over HTTP."""
    found = _fields_of(REQUESTS[name])
    return _table(("field", "default", "meaning"), ((field, default, text) for field, _, default, text in found))


def _fields_of(record: type[Any]) -> Iterator[tuple[str, str, str, str]]:
    if is_dataclass(record):
        for field in fields(record):
            kind = field.type if isinstance(field.type, str) else _kind(field.type)
            default = "" if field.default is MISSING else _shown(field.default, none="`null`")
            yield f"`{field.name}`", f"`{_short(kind)}`", default, str(field.metadata.get("description", ""))
        return
    for name, info in record.model_fields.items():
        default = "" if info.is_required() else _shown(info.get_default(call_default_factory=True), none="`null`")
        yield f"`{info.alias or name}`", f"`{_short(_kind(info.annotation))}`", default, info.description or ""


REQUESTS: dict[str, type[Any]] = {model.__name__: model for model in (Asked, Candidate, Answer, Chosen, Health)}

RECORDS: dict[str, type[Any]] = {
    "Manifest": Manifest,
    "Spec": Spec,
    "Input": Input,
    "FileRecord": FileRecord,
    "RlQuery": RlQuery,
    "AnsweredPointer": AnsweredPointer,
}
TABLES: dict[str, Callable[[str], str]] = {
    "settings": settings_tables,
    "presets": presets_table,
    "upstream": upstream_table,
    "steps": steps_table,
    "metrics": metrics_table,
    "samplers": samplers_table,
    "rewards": rewards_list,
    "fields": fields_table,
    "public": public_table,
    "request": request_table,
}


# -- cells ---------------------------------------------------------------------------------------------------


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(header)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _shown(default: Any, none: str = "unset") -> str:
    if default is None or default is PydanticUndefined:
        return none
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{default}`"


def _kind(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)


def _short(text: str) -> str:
    return re.sub(r"\b(?:typing|icd_assets[\w.]*)\.(?=\w)", "", text)


def _first_sentence(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
