"""The documentation says what the code says; `make docs` checks its links."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import icd_assets
from icd_assets.cli import group
from icd_assets.experiment.steps import STEPS, own_fields, sections
from icd_assets.pools.config import SAMPLERS
from icd_assets.scoring.rewards import REWARD_MODES
from icd_assets.selector.metrics import METRICS

ROOT = Path(icd_assets.__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
CODE = sorted(
    path for folder in ("icd_assets", "icd_assets_tests", "benchmarks") for path in ROOT.glob(f"{folder}/**/*.py")
)


@pytest.fixture(scope="module")
def hooks() -> Iterator[ModuleType]:
    """What mkdocs loads while it builds the pages."""
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_hooks"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["docs_hooks"]


def page(hooks: ModuleType, name: str) -> str:
    """A page as its readers see it."""
    text: str = hooks.on_page_markdown((DOCS / name).read_text(encoding="utf-8"))
    return text


def test_every_setting_stands_on_the_settings_page(hooks):
    text = page(hooks, "settings.md")
    fields = [("shared", name) for name in sections()["shared"].model_fields]
    fields += [("reward", name) for name in sections()["reward"].model_fields]
    fields += [(step.name, name) for step in STEPS for name in own_fields(step)]
    assert [field for field in fields if f'id="{field[0]}.{field[1]}"' not in text] == []


def test_a_setting_says_its_default_its_variable_its_flag_and_its_choices(hooks):
    text = page(hooks, "settings.md")
    (line,) = [line for line in text.splitlines() if 'id="rce_checkpoints.rce_temp_start"' in line]
    assert "| `1` | `RCE_TEMP_START`<br>`--rce-temp-start` | Reward temperature" in line
    (line,) = [line for line in text.splitlines() if 'id="rce_checkpoints.rce_target"' in line]
    assert line.endswith("<br>`softmax` · `above_mean` · `tilted` |")


def test_every_setting_and_choice_is_described():
    described = [
        (name, field)
        for name, model in sections().items()
        for field, info in model.model_fields.items()
        if info.description
    ]
    assert described == [(name, field) for name, model in sections().items() for field in model.model_fields]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("metrics.md", tuple(METRICS)),
        ("architecture.md", tuple(step.name for step in STEPS)),
        ("adding/sampler.md", SAMPLERS),
        ("adding/reward.md", REWARD_MODES),
    ],
)
def test_generated_tables_leave_nothing_out(hooks, name, words):
    text = page(hooks, name)
    assert [word for word in words if f"`{word}`" not in text] == []


def test_every_field_of_a_record_in_a_file_stands_on_the_formats_page(hooks):
    text = page(hooks, "formats.md")
    named = {name for name in hooks.RECORDS if f"\n{hooks.fields_table(name)}\n" in text}
    assert named == set(hooks.RECORDS)
    assert "| `want` | `Spec` |  | What the artifact was made of. |" in text
    assert [line for line in hooks.fields_table("Manifest").splitlines() if line.endswith("|  |")] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_every_marker_of_a_page_is_filled(hooks, path):
    assert "<!--" not in hooks.on_page_markdown(path.read_text(encoding="utf-8"))


def test_a_marker_that_names_nothing_ends_the_build(hooks):
    with pytest.raises(KeyError, match="there is no table 'setings'"):
        hooks.on_page_markdown("<!-- table: setings -->")


def test_the_picture_of_the_architecture_shows_every_step_and_floor():
    words = set(re.findall(r">([\w· ]+)</text>", (DOCS / "pictures/architecture.svg").read_text(encoding="utf-8")))
    shown = {word for text in words for word in re.split(r"[ ·]+", text)}
    floors = {
        path.stem
        for path in (ROOT / "icd_assets").iterdir()
        if not path.stem.startswith("_") and path.suffix in ("", ".py")
    }
    assert {step.name for step in STEPS} | floors <= shown


def test_settings_that_a_page_names_exist(hooks):
    names = "|".join(sections())
    named = {
        (section, field)
        for path in PAGES
        for section, field in re.findall(rf"`(?:--set )?({names})\.(\w+)[`=]", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    assert [(s, f) for s, f in sorted(named) if f not in sections()[s].model_fields] == []


def cited(text: str) -> set[str]:
    """The anchors that the citations of a text lead to: ``SPEC O.2-7``, ``SPEC E.1, E.2``, ``SPEC H``."""
    found = set(re.findall(r"SPEC[\s#]+([A-Q])\b(?!\.\d)", text))
    if "SPEC" in text:
        found |= {"".join(parts) for parts in re.findall(r"\b([A-Q])\.(\d)(-\d+)?\b", text)}
    return {name.lower() for name in found}


def test_every_citation_in_the_code_leads_to_an_anchor(hooks):
    anchors = set(re.findall(r"\{#([\w-]+)\}", (DOCS / "lever_plus.md").read_text(encoding="utf-8")))
    lost = {
        name: path.name
        for path in CODE
        if path != Path(__file__)
        for name in cited(path.read_text(encoding="utf-8"))
        if name not in anchors
    }
    assert lost == {}
    assert {
        hooks.anchor(hooks._CITATION.search(text)) for text in ("SPEC O.2-7", "SPEC K.3-2,", "SPEC J")
    } <= anchors


def test_citations_are_found_however_they_are_written():
    assert cited("(SPEC\n    # O.2-13), SPEC E.1, E.2; SPEC H, SPEC G.4 to G.6") == {
        "o2-13",
        "e1",
        "e2",
        "h",
        "g4",
        "g6",
    }
    assert cited("A.1 of something else") == set()


def test_papers_that_the_code_cites_stand_in_the_paper_index():
    index = (DOCS / "paper_index.md").read_text(encoding="utf-8")
    papers = {
        number
        for path in CODE
        if path != Path(__file__)
        for number in re.findall(r"arXiv[: ](\d{4}\.\d{5})", path.read_text(encoding="utf-8"))
    }
    assert len(papers) > 5
    assert [number for number in sorted(papers) if f"arxiv.org/abs/{number}" not in index] == []


def literals(path: Path) -> str:
    """Every text of a module, f-strings with … for their values, adjacent ones joined."""
    texts = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
    return "\n".join(texts)


def test_the_messages_in_troubleshooting_are_those_of_the_code():
    messages = "\n".join(literals(path) for path in CODE if path.is_relative_to(ROOT / "icd_assets"))
    quoted = re.findall(r"^> (.+)$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    parts = [part.strip(" .,:;()") for sentence in quoted for part in sentence.split("…")]
    assert len(quoted) > 20
    assert [part for part in parts if part not in messages] == []


@pytest.mark.parametrize("name", icd_assets.__all__)
def test_a_public_name_is_described_typed_and_on_an_api_page(hooks, name):
    public = getattr(icd_assets, name)
    pages = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("api/*.md"))
    assert f"::: {public.__module__}\n" in pages
    assert f"[`{name}`][{public.__module__}.{name}]" in page(hooks, "python.md")
    found = [public, *(getattr(public, key) for key in vars(public) if inspect.isclass(public) and key[0] != "_")]
    own = [one for one in found if callable(one) and one is not icd_assets.UserError]
    assert [one for one in (public, *own) if not one.__doc__ or one.__doc__.startswith(f"{name}(")] == []
    typed = [(one, p) for one in own for p in inspect.signature(one).parameters.values() if p.name != "self"]
    assert [(one, p) for one, p in typed if p.annotation is p.empty] == []


def test_every_command_stands_on_its_page():
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert [name for name in group.commands if f"`icd-assets {name}" not in text] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_first_screen_of_the_readme_has_the_two_commands():
    (block,) = re.findall(
        r"^```\n(.*?)^```",
        (ROOT / "README.md").read_text(encoding="utf-8").split("\n## ")[0],
        re.MULTILINE | re.DOTALL,
    )
    assert [line.partition("#")[0].strip() for line in block.splitlines()] == ["make demo", "make test"]


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "icd_assets" / "py.typed").is_file()
