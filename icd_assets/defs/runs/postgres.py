"""Dagster's records in PostgreSQL: tables are made by one host at a time, and its retries are silent.

Gap: two hosts that open an instance on an empty database at once both create Dagster's tables (dagster-postgres
0.29.27). Its retry covers a table that is there already, but not the row type that comes before the table: 5 of 20
such starts failed with "type … already exists".
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg
    from sqlalchemy.engine import Connection

_LOCK = 0x49434441  # "ICDA": of this database alone
_WAIT_MILLISECONDS = 60_000
_RETRIES = ("Retrying failed database connection", "Retrying failed database creation")


@contextmanager
def tables_by_one(settings: object) -> Iterator[None]:
    """While it is open no other process of ours, on whatever host, creates tables in the same database.

    settings: what dagster.yaml holds. Nothing is done where its storage is no PostgreSQL, nor where the server
    does not answer: Dagster tries more patiently, and its error is the one to show.
    """
    _silence_retries()
    connection = _connection(settings)
    if connection is None:
        yield
        return
    from sqlalchemy.exc import SQLAlchemyError

    with connection:
        with suppress(SQLAlchemyError):  # waited a minute: whoever holds it is long past creating tables
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_WAIT_MILLISECONDS}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")  # freed when it is closed
        yield


def storage_errors() -> tuple[type[Exception], ...]:
    """What Dagster's storage raises when its database is away."""
    from sqlalchemy.exc import SQLAlchemyError  # a fifth of the time that a command takes to start

    try:
        from dagster_postgres.utils import DagsterPostgresException
    except ImportError:
        return (SQLAlchemyError,)
    return (SQLAlchemyError, DagsterPostgresException)


def server_of(opened: dg.DagsterInstance) -> str | None:
    """``PostgreSQL 17.2 at db.example.org:5432, database dagster``; None for another storage. No user, no key."""
    storage = opened.run_storage
    if type(storage).__name__ != "PostgresRunStorage":
        return None
    with storage.connect() as connection:  # type: ignore[attr-defined]
        version = connection.exec_driver_sql("SHOW server_version").scalar()
        url = connection.engine.url
    place = url.host or url.query.get("host", "the local socket")
    return f"PostgreSQL {str(version).split()[0]} at {place}:{url.port or 5432}, database {url.database}"


def _connection(settings: object) -> Connection | None:
    config = _config(settings)
    if config is None:
        return None
    try:
        from dagster_postgres.utils import create_pg_engine, get_token_provider_from_config, pg_url_from_config
        from sqlalchemy.pool import NullPool

        engine = create_pg_engine(
            pg_url_from_config(config), get_token_provider_from_config(config), poolclass=NullPool
        )
        return engine.connect()
    except Exception:  # noqa: BLE001 - no package, no server, no such setting: opening the instance says which
        return None


def _config(settings: object) -> dict[str, Any] | None:
    storage = settings.get("storage") if isinstance(settings, dict) else None
    found = storage.get("postgres") if isinstance(storage, dict) else None
    return _resolved(found) if isinstance(found, dict) else None


def _resolved(config: Mapping[str, Any]) -> dict[str, Any]:
    """With Dagster's ``{env: NAME}`` replaced by what the variable holds."""

    def value_of(found: Any) -> Any:
        if not isinstance(found, dict):
            return found
        return os.environ.get(str(found["env"]), "") if found.keys() == {"env"} else _resolved(found)

    return {str(key): value_of(value) for key, value in config.items()}


def _silence_retries() -> None:
    """dagster-postgres shows each try on the terminal, over several lines; the last error is one sentence."""
    if _is_no_retry not in logging.getLogger().filters:
        logging.getLogger().addFilter(_is_no_retry)


def _is_no_retry(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_RETRIES)
