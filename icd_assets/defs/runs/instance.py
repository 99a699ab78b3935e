"""Dagster's home as the place where commands work."""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icd_assets.defs.runs.postgres import tables_by_one
from icd_assets.errors import UserError
from icd_assets.runtime import machine_errors
from icd_assets.runtime.foreign import printable
from icd_assets.runtime.home import find_home
from icd_assets.runtime.locks import hold
from icd_assets.runtime.small_file import read_small
from icd_assets.runtime.yaml_file import read_yaml

if TYPE_CHECKING:
    import dagster as dg


_LARGEST = 1 << 20  # bytes


def enter_home() -> Path:
    """Find DAGSTER_HOME, export it, and go there: relative paths of the catalog and of RESULT_DIR then mean the
    same in a subfolder, in the UI and in the runs that the UI launches."""
    home = find_home()
    if home is None:
        raise UserError(
            f"no dagster.yaml in {Path.cwd()} or above it; make this folder the place where icd-assets works by "
            "icd-assets init, or set DAGSTER_HOME to one that is."
        )
    try:
        str(home).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"the home {printable(str(home))} is not UTF-8, and records could not name what lies in it; rename "
            "it, or work in another."
        ) from None
    _settings_of(home)
    os.environ["DAGSTER_HOME"] = str(home)
    os.chdir(home)
    return home


def _settings_of(home: Path) -> dict[str, Any]:
    """What dagster.yaml holds. Raises ``UserError`` where Dagster would go on without settings, or not end."""
    settings = home / "dagster.yaml"
    init = f"icd-assets init {shlex.quote(str(home))}"
    if not settings.is_file():
        raise UserError(f"{settings} does not exist; write it: {init}")
    try:
        content = read_yaml(settings)  # Dagster writes anchors out, however much that is
    except OSError as error:
        raise UserError(
            f"{settings} cannot be read ({error.strerror}); move it away and write one: {init}"
        ) from None
    except ValueError as error:
        raise UserError(f"{settings} is not readable YAML ({error}); fix it.") from None
    lines = read_small(settings, _LARGEST).splitlines()  # of a file without settings Dagster sends telemetry
    if not any(line.strip() for line in lines):
        raise UserError(f"{settings} holds no settings; write it: {init}")
    if all(line.strip()[:1] in (b"", b"#") for line in lines):
        raise UserError(f"{settings} holds comments alone; move it away and write one: {init}")
    if not isinstance(content, dict):
        raise UserError(f"{settings} holds no settings; move it away and write one: {init}")
    return content


@contextmanager
def open_instance() -> Iterator[dg.DagsterInstance]:
    """The instance at home. Its tables are created here, by one process at a time; in PostgreSQL, of all hosts.

    Gap: two processes that create Dagster's SQLite tables at once (1.13.27) leave an instance that does not open:
    "more than one head present" (#27390).
    """
    home = enter_home()
    lock = home / "storage" / "icd_assets.lock"
    lock.parent.mkdir(exist_ok=True)
    with hold(lock), tables_by_one(_settings_of(home)):
        found = _opened(home / "dagster.yaml")
    with found:
        yield found


def _opened(settings: Path) -> dg.DagsterInstance:
    import dagster as dg  # a plan does without, and is a second faster

    logging.disable(logging.WARNING)  # of a server that does not answer Dagster warns five times
    try:
        found = dg.DagsterInstance.get()
        found.get_runs(limit=1)
        found.get_asset_keys()
        found.all_instigator_state()
    except Exception as error:  # each kind of storage that dagster.yaml may name has errors of its own
        if (explained := machine_errors.explain(error, settings.parent)) is not None:
            raise explained from error
        what = f"Dagster's records do not open: {_cause(error)}"
        raise UserError(f"{what}; fix {settings} or its storage.") from error
    finally:
        logging.disable(logging.NOTSET)
    return found


def _cause(error: BaseException) -> str:
    """What was wrong to begin with, on one line, and for PostgreSQL's drivers what to do about it."""
    while (before := error.__cause__ or error.__context__) is not None:
        error = before
    wrong = getattr(error, "error_messages", None)  # Dagster's of a config; str() is its whole schema
    said = (
        "; ".join(re.split(r"\s*(?:Expected:|Stack Trace:)", text)[0] for text in wrong) if wrong else str(error)
    )
    text = " ".join(said.split()).rstrip(".")[:300] or type(error).__name__
    if isinstance(error, ImportError) and error.name in ("psycopg", "psycopg2", "dagster_postgres"):
        return f"{text}: install icd-assets[postgres] and set postgres_db.scheme to postgresql+psycopg2"
    return text
