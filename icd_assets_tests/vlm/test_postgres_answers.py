"""Answers in PostgreSQL: as those in a file, to the bit; shared by machines; no password in any sentence."""

from __future__ import annotations

import json
import logging
import random
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from icd_assets.assets.build import build
from icd_assets.cli import group
from icd_assets.errors import UserError
from icd_assets.experiment.cell import Cell
from icd_assets.experiment.experiment import Experiment
from icd_assets.experiment.settings import read_settings
from icd_assets.remote.shared_answers import SharedAnswers
from icd_assets.vlm import postgres_answers as module
from icd_assets.vlm.answer_store import AnswerStore
from icd_assets.vlm.answers import Answers, open_answers
from icd_assets.vlm.backend import Likelihood
from icd_assets.vlm.postgres_answers import PostgresAnswers
from icd_assets_tests.programs import program
from icd_assets_tests.worlds.postgres import PASSWORD, Server, postgres
from icd_assets_tests.worlds.two_homes import Homes, homes
from icd_assets_tests.worlds.workplace import CELL, KEY, ROOT, Workplace, new_workplace, shrink

__all__ = ["homes"]
pytest.importorskip("psycopg2")


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with postgres() as found:
        yield found


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Without the table, as ICD_ANSWERS names it."""
    running.sql("DROP TABLE IF EXISTS icd_assets_answers_1")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("ICD_ANSWERS", running.url)
    return running


def likelihoods(count: int) -> list[Likelihood]:
    """Of every size, and the odd ones."""
    rng = random.Random(1)
    drawn = [-abs(struct.unpack("<d", struct.pack("<Q", rng.getrandbits(62)))[0]) for _ in range(count)]
    odd = [-0.0, 0.0, -5e-324, -1.7976931348623157e308, -0.1, -1 / 3, -2.2250738585072014e-308]
    return [Likelihood(p, n + 1) for n, p in enumerate([*odd, *drawn])]


TEXTS = [
    "",
    " a  b\n",
    "é 猫 🐈",
    "nul \0 inside",
    "'; DROP TABLE answers; --",
    "%s %(a)s \\x41 \\",
    "x" * 100_000,
]


def test_everything_comes_back_as_from_a_file_to_the_bit(server: Server, tmp_path: Path) -> None:
    values: list[str | Likelihood] = [*TEXTS, *likelihoods(2000)]
    added = {random.Random(n).randbytes(32): value for n, value in enumerate(values)}
    texts = [key for key, value in added.items() if isinstance(value, str)]
    scored = [key for key, value in added.items() if not isinstance(value, str)]
    found = []
    for store in (AnswerStore(tmp_path / "a.sqlite"), open_answers(tmp_path / "unused.sqlite")):
        with store:
            store.add(added)
            bits = {key: (struct.pack("<d", p.logprob), p.tokens) for key, p in store.likelihoods(scored).items()}
            pages = [row for page in store.pages() for row in page]
            found.append((store.texts(texts), bits, pages, len(store), store.texts([b"unknown", *texts[:1]])))
    assert found[0] == found[1]
    assert found[1][0] == {key: added[key] for key in texts} and len(found[1][1]) == len(scored)
    assert not (tmp_path / "unused.sqlite").exists()


@pytest.mark.parametrize("surrogate", ["\ud800"])
def test_a_text_that_no_file_can_hold_is_refused_by_both(server: Server, tmp_path: Path, surrogate: str) -> None:
    for store in (AnswerStore(tmp_path / "a.sqlite"), open_answers(tmp_path)):
        with store, pytest.raises(UnicodeEncodeError):
            store.add({b"one": "kept?", b"two": surrogate})
        with open_answers(tmp_path) as again:
            assert len(again) == 0


def test_the_first_answer_stays_and_a_batch_is_added_whole(server: Server, tmp_path: Path) -> None:
    with open_answers(tmp_path) as store:
        store.add({b"a": "first", b"b": Likelihood(-1.0, 1)})
        store.add({b"a": "second", b"b": "second", b"c": "new"})
        assert store.texts([b"a", b"c"]) == {b"a": "first", b"c": "new"}
        store.add({})
        with pytest.raises(UserError, match="cannot be used"):
            store.add({b"d": "fits", b"e": Likelihood(-1.0, 1 << 40)})
        assert store.texts([b"d"]) == {} and len(store) == 3
        with pytest.raises(UserError, match="damaged"):
            store.texts([b"b"])


def test_pages_end_where_the_rows_do(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROWS", 4)
    with open_answers(tmp_path) as store:
        for count in (0, 3, 4, 5, 8):
            store.add({bytes([n]): str(n) for n in range(count)})
            assert [row[1] for page in store.pages() for row in page] == [str(n) for n in range(count)]


@pytest.mark.slow
def test_four_hosts_create_the_table_and_write_at_once(server: Server, tmp_path: Path) -> None:
    hosts = [
        subprocess.Popen(
            program("write_shared_answers", name),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "abcd"
    ]
    for _ in range(2):
        for host in hosts:
            print(file=host.stdin, flush=True)
        assert all(host.stdout.readline() in ("created\n", "") for host in hosts if host.stdout is not None)
    for host in hosts:
        host.communicate(timeout=60)
    assert [host.returncode for host in hosts] == [0] * 4
    with open_answers(tmp_path) as store:
        assert len(store) == 5 * 300
        assert store.likelihoods([b"shared 7", b"c 299"]) == {
            b"shared 7": Likelihood(-7.0, 1),
            b"c 299": Likelihood(-299.0, 1),
        }


def test_a_lost_connection_is_made_again(server: Server, tmp_path: Path) -> None:
    with open_answers(tmp_path) as store:
        store.add({b"a": "kept"})
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'icd-assets'")
        store.add({b"b": "too"})
        server.stop()
        back = threading.Timer(1.5, server.start)
        back.start()
        try:
            assert store.texts([b"a", b"b"]) == {b"a": "kept", b"b": "too"}
        finally:
            back.join()


def test_a_server_that_stays_away_is_one_sentence(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 1.0)
    with open_answers(tmp_path) as store:
        server.stop()
        try:
            began = time.monotonic()
            with pytest.raises(UserError, match=r"^the answers in PostgreSQL at 127.*cannot be used \(.*goes on"):
                store.add({b"a": "lost"})
            assert time.monotonic() - began < 10
        finally:
            server.start()


def refused(url: str) -> str:
    with pytest.raises(UserError) as raised:
        PostgresAnswers(url)
    sentence = str(raised.value)
    assert "\n" not in sentence and len(sentence) < 600
    return sentence


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user": "icd:wr0ng-secret"}, "password authentication failed"),
        ({"user": "nobody:wr0ng-secret"}, "password authentication failed"),
        ({"user": "icd:wr0ng-secret%zz"}, "percent-encoded"),
        ({"database": "none"}, 'database "none" does not exist'),
        ({"port": "1"}, "Connection refused"),
        ({"host": "nohost.invalid"}, "could not translate host name"),
        ({"database": "dagster?password=wr0ng-secret"}, "password authentication failed"),
        ({"database": "dagster?wr0ng-secret"}, "cannot be used"),
        ({"port": "99999"}, "is no address"),
        ({"scheme": "mysql"}, "is no address"),
        ({"database": ""}, "is no address"),
    ],
)
def test_what_is_wrong_is_named_and_no_password_shown(server: Server, change: dict[str, str], reason: str) -> None:
    port = server["POSTGRES_PORT"]
    parts = {"scheme": "postgresql", "user": "icd", "host": "127.0.0.1", "port": port, "database": "dagster"}
    sentence = refused("{scheme}://{user}@{host}:{port}/{database}".format(**parts | change))
    assert reason in sentence and PASSWORD not in sentence
    if "wr0ng" in "".join(change.values()) and "?wr0ng" not in change.get("database", ""):
        assert "wr0ng" not in sentence


@pytest.mark.parametrize(
    "url",
    [
        "",
        "answers.sqlite",
        "postgresql://[::1",
        "postgresql://h:p\0@/d",
        "postgresql://h:1/p@h/d",
        "postgresql://h:p/1@h/d",
        "\ud800" * 9,
    ],
)
def test_no_address_at_all(url: str) -> None:
    assert "is no address" in refused(url)


def test_a_table_of_somebody_else_is_refused_and_kept(server: Server) -> None:
    server.sql("CREATE TABLE icd_assets_answers_1 (key text, mine integer)")
    assert "other columns" in refused(server.url)
    assert server.sql("SELECT count(*) FROM icd_assets_answers_1") == "0"


@pytest.mark.parametrize(
    "row",
    ["NULL, NULL, NULL", "'\\xff', NULL, NULL", "NULL, 0.5, 1", "NULL, 'NaN', 1", "NULL, -1, 0", "NULL, -1, NULL"],
)
def test_an_entry_that_cannot_be_is_named(server: Server, tmp_path: Path, row: str) -> None:
    with open_answers(tmp_path) as store:
        server.sql(f"INSERT INTO icd_assets_answers_1 VALUES ('a', {row})")
        with pytest.raises(UserError, match="damaged"):
            store.likelihoods([b"a"])
        with pytest.raises(UserError, match="damaged"):
            store.texts([b"a"])


def test_an_account_that_may_not_write(server: Server, tmp_path: Path) -> None:
    open_answers(tmp_path).close()
    server.sql("DROP ROLE IF EXISTS reader")
    server.sql(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
    with PostgresAnswers(server.url.replace("icd@", "reader@")) as store:
        with pytest.raises(UserError, match="permission denied for table"):
            store.texts([b"a"])
        server.sql("GRANT SELECT ON icd_assets_answers_1 TO reader")
        assert store.texts([b"a"]) == {}
        with pytest.raises(UserError, match="permission denied for table"):
            store.add({b"a": "b"})


def test_push_and_pull(server: Server, homes: Homes, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file onto the remote, into PostgreSQL, and on from there."""

    def shared(store: str) -> SharedAnswers:
        world = {"mine": homes.mine, "theirs": homes.theirs, "PostgreSQL": homes.mine}[store]
        monkeypatch.setenv("ICD_ANSWERS", server.url if store == "PostgreSQL" else "")
        return SharedAnswers(world.store, homes.remote)

    with AnswerStore(homes.mine.store.answers) as mine:
        mine.add({bytes([n]) * 32: str(n) for n in range(20)})
    assert shared("mine").push() == 20
    assert shared("PostgreSQL").only_there() == 1
    assert shared("PostgreSQL").pull() == 20
    with PostgresAnswers(server.url) as store:
        store.add({bytes([n]) * 32: Likelihood(-float(n), 1) for n in range(100, 103)})
    assert shared("PostgreSQL").only_here() == 3
    assert shared("PostgreSQL").push() == 3
    assert shared("PostgreSQL").push() == shared("PostgreSQL").pull() == 0
    assert shared("theirs").pull() == 23
    assert shared("mine").pull() == 3
    with AnswerStore(homes.theirs.store.answers) as theirs, PostgresAnswers(server.url) as store:
        kept, here = ([row for page in one.pages() for row in page] for one in (theirs, store))
    assert kept == here and len(kept) == 23


@pytest.mark.slow
def test_a_train_asks_nothing_that_the_database_knows(
    server: Server, tmp_path: Path, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine's results folder is empty; its files get the same bytes, and the VLM is asked nothing.

    The first machine is a command of its own, the other is this process: a command takes ten seconds to start.
    """
    other = new_workplace(tmp_path / "other")
    for place in (workplace, other):
        shrink(place)
    ended = workplace.train("--to", "beam_data", ICD_ANSWERS=server.url, PGPASSWORD=PASSWORD)
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    for name, value in other.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(other.folder)
    cell = Experiment.open(Cell.parse(KEY), read_settings(), other.results)
    for asset in ("candidate_pools", "beam_data"):
        build(cell, asset)
    beams = []
    for place in (workplace, other):
        (found,) = (path for path in place.results.rglob("*beam*.json") if "manifest" not in path.name)
        (manifest,) = place.results.rglob("*beam*.manifest.json")
        facts = json.loads(manifest.read_text(encoding="utf-8"))["facts"]
        beams.append((found.read_bytes(), facts["vlm_prompts_asked"] > 0))
        assert not (place.results / ".icd_assets/answers.sqlite").exists()
    assert beams[0][0] == beams[1][0] and [again for _, again in beams] == [True, False]
    doctor = CliRunner().invoke(group, ["doctor", *CELL[1:2], CELL[4], CELL[5], "--no-smoke"])
    assert "PostgreSQL at 127.0.0.1" in doctor.stdout, doctor.stdout
    assert CliRunner().invoke(group, ["verify"]).exit_code == 0
    written = [path for place in (workplace, other) for path in place.folder.rglob("*") if path.is_file()]
    assert not [path for path in written if PASSWORD.encode() in path.read_bytes()]


def test_nothing_is_logged(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), open_answers(tmp_path) as store:
        assert isinstance(store, Answers)
        store.add({b"a": "b"})
    assert PASSWORD not in caplog.text
