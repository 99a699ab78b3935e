"""What the machine does to us is one sentence with what helps; what we did ourselves stays an error."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy

from icd_assets.runtime.machine_errors import explain

GOES_ON = "then run again: it goes on from where it was."


class OutOfMemoryError(RuntimeError):
    """As torch's is called."""


def fault(code: int, name: str | None = None) -> OSError:
    return OSError(code, os.strerror(code), name) if name is not None else OSError(code, os.strerror(code))


def words(error: BaseException, folder: Path = Path("/")) -> str:
    found = explain(error, folder)
    assert found is not None, repr(error)
    assert "\n" not in str(found)
    return str(found)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (fault(errno.ENOSPC), "the disk is full: / has"),
        (fault(errno.EDQUOT, "/nowhere/rl.json"), "the quota of this user on / is used up"),
        (fault(errno.EIO, "/results/rl.json"), "/results/rl.json: the disk failed"),
        (fault(errno.EIO), "/: the disk failed"),
        (fault(errno.EMFILE), "too many files are open; raise the limit (ulimit -n)"),
        (fault(errno.ENFILE), "too many files are open"),
        (fault(errno.ESTALE, "/results/x"), "/results/x: the network or user file system of it does not answer"),
        (fault(errno.ENOTCONN, "/results/x"), "/results/x: the network or user file system of it does not answer"),
        (fault(errno.EFBIG, "/results/x"), "/results/x: a file becomes larger than the limit of its disk"),
        (fault(errno.ETXTBSY, "/results/x"), "/results/x: it is a program at work"),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "no further process or thread"),
        (RuntimeError("can't start new thread"), "no further process or thread"),
        (RuntimeError("unable to mmap: Cannot allocate memory (12)"), "the memory does not suffice"),
        (RuntimeError("unable to write to file </torch_1_2>: No space left on device (28)"), "the disk is full"),
        (Exception("IO error: No space left on device (os error 28)"), "the disk is full"),
    ],
)
def test_one_sentence(error: Exception, sentence: str) -> None:
    assert words(error).startswith(sentence)
    assert words(error).endswith(GOES_ON)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.EROFS, "/results/x cannot be written: / is mounted read-only; mount it for writing"),
        (errno.ELOOP, "/results/x: its symbolic links lead round in a circle"),
        (errno.EISDIR, "/results/x: it is a folder, where a file is expected"),
        (errno.ENAMETOOLONG, "/results/x: this name is too long"),
        (errno.ENOLCK, "the file system of /results/x refuses file locks"),
        (errno.ENOENT, "/results is not there any more; if it was removed meanwhile, run again"),
    ],
)
def test_a_path(code: int, sentence: str) -> None:
    assert words(fault(code, "/results/x")).startswith(sentence)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_locks_refused_name_no_file(code: int) -> None:
    assert words(fault(code)).startswith("the file system of / refuses file locks")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        np._core._exceptions._ArrayMemoryError((1 << 50,), np.dtype("u1")),  # type: ignore[attr-defined]
        pa.ArrowMemoryError("malloc of size 9 failed"),
        OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
        ImportError("libtorch_cpu.so: cannot allocate memory in static TLS block"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        fault(errno.ENOMEM),
        fault(errno.ENOMEM, "/results/x"),
        subprocess.CalledProcessError(-9, ["convert"]),
        subprocess.CalledProcessError(137, ["sh"]),
        ExceptionGroup("two", [ValueError("no"), MemoryError()]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_memory(error: Exception) -> None:
    assert words(error) == f"the memory does not suffice; end other programs or take smaller batches, {GOES_ON}"


def test_an_import_that_ran_out_of_memory() -> None:
    try:
        try:
            raise MemoryError
        except MemoryError as inner:
            raise ImportError("cannot import name 'x' from 'torch'") from inner
    except ImportError as error:
        assert "the memory does not suffice" in words(error)


def test_the_cause_counts_however_it_is_wrapped() -> None:
    try:
        try:
            raise fault(errno.ENOSPC)
        except OSError as error:
            raise ValueError("could not write") from error
    except ValueError as wrapped:
        assert "the disk is full" in words(wrapped)


def test_a_bug_after_an_expected_error_stays_a_bug() -> None:
    """That a cache is not there is no fault; only what no program expects explains what comes after it."""
    for code, explained in ((errno.ENOENT, False), (errno.EACCES, False), (errno.EIO, True)):
        try:
            try:
                raise fault(code, "/results/cache.json")
            except OSError:
                raise ValueError("a bug") from None if code < 0 else ValueError("a bug")
        except ValueError as error:
            error.__cause__ = None
            error.__context__ = fault(code, "/results/cache.json")
            assert (explain(error, Path("/")) is not None) is explained


# What is gone


def test_what_was_removed_is_the_highest_folder(tmp_path: Path) -> None:
    gone = fault(errno.ENOENT, str(tmp_path / "results/okvqa/cache/a.json"))
    assert words(gone).startswith(f"{tmp_path / 'results'} is not there any more")


def test_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nothing")
    gone = fault(errno.ENOENT, str(tmp_path / "link"))
    assert words(gone).startswith(f"{tmp_path / 'link'} is a link to something that is not there")


def test_the_folder_of_work_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "work").rmdir()
    for act in (Path.cwd, Path("results/x").read_bytes):
        with pytest.raises(FileNotFoundError) as raised:
            act()
        found = explain(raised.value)
        assert found is not None
        assert str(found).startswith("the folder in which this command runs was removed")


def test_no_folder_for_temporary_files() -> None:
    text = "No usable temporary directory found in ['/tmp', '/var/tmp', '/work']"
    assert "set TMPDIR to one that can" in words(FileNotFoundError(errno.ENOENT, text))


@pytest.mark.parametrize(
    "error", [RuntimeError("Could not determine home directory."), KeyError("getpwuid(): uid not found: 1234")]
)
def test_no_home(error: Exception) -> None:
    assert "set HOME and USER" in words(error)


def test_a_name_that_is_not_utf8() -> None:
    with pytest.raises(UnicodeEncodeError) as raised:
        '{"root": "/data/\udcff/results"}'.encode()
    assert words(raised.value).startswith("/data/�/results is not UTF-8")


# What is refused


def refusal(path: Path, code: str) -> str:
    """What ``code`` with ``path`` ends in as an ordinary user, explained in that process."""
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom icd_assets.runtime.machine_errors import explain\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\npath = Path(sys.argv[1])\n"
        f"try:\n    {code}\nexcept OSError as error:\n    print(explain(error))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("folder", "file", "code", "where"),
    [
        (0o755, 0o600, "path.read_bytes()", "a.json may not be read"),
        (0o755, 0o644, "path.write_bytes(b'')", "a.json may not be written"),
        (0o700, 0o644, "path.read_bytes()", "shut may not be entered"),
        (0o755, 0o644, "(path.parent / 'b').write_bytes(b'')", "shut may not be written"),
    ],
)
def test_a_permission_names_its_place(folder: int, file: int, code: str, where: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:  # pytest's own may be entered by its user alone
        Path(name).chmod(0o755)
        (shut := Path(name) / "shut").mkdir()
        (path := shut / "a.json").write_text("{}", encoding="utf-8")
        path.chmod(file)
        shut.chmod(folder)
        found = refusal(path, code)
    assert f"/{where} by user 65534 (it is user 0's" in found
    assert "read-only" not in found


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 inodes and 4 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=16", "none", str(place)]
    try:
        done = subprocess.run(command, capture_output=True)
    except OSError as error:
        pytest.skip(f"no mount: {error}")
    if done.returncode != 0:
        pytest.skip(f"may not mount: {done.stderr.decode()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_no_inode_left_on_a_real_disk(mounted: Path) -> None:
    with pytest.raises(OSError) as raised:
        for number in range(20):
            (mounted / str(number)).touch()
    found = words(raised.value)
    assert found.startswith(
        f"no inodes (files) are left on {mounted}: all but 0 of 16 are in use, though it has 4 of"
    )
    assert "the disk is full" not in found


def test_no_byte_left_on_a_real_disk(mounted: Path) -> None:
    with pytest.raises(OSError) as raised:
        (mounted / "a").write_bytes(bytes(5 << 20))
    assert words(raised.value, mounted).startswith(f"the disk is full: {mounted} has 0 of 4 MiB free")


def test_a_disk_that_is_mounted_read_only(mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with pytest.raises(OSError) as raised:
        (mounted / "a").touch()
    assert words(raised.value).startswith(f"{mounted / 'a'} cannot be written: {mounted} is mounted read-only")


def test_a_folder_that_is_mounted_read_only_from_its_own_disk(mounted: Path) -> None:
    """As a container's volume: the disk around it may be written."""
    (place := mounted / "a b\\c").mkdir()
    (mounted / "link").symlink_to(place)
    subprocess.run(["mount", "--bind", str(place), str(place)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        for path in (place / "x", mounted / "link" / "x"):
            with pytest.raises(OSError) as raised:
                path.touch()
            assert words(raised.value).startswith(f"{path} cannot be written: {place} is mounted read-only")
    finally:
        subprocess.run(["umount", str(place)], check=True)


def facts(files: int, left: int, free: int) -> os.statvfs_result:
    """With ``left`` of ``files`` inodes, and ``free`` of 40 MiB."""
    return os.statvfs_result((4096, 4096, 40 << 8, free << 8, free << 8, files, left, left, 0, 255))


@pytest.mark.parametrize(("left", "sentence"), [(9, "no inodes"), (900, "it cannot be opened")])
def test_a_database_without_a_file_for_its_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int, sentence: str
) -> None:
    """What the step had staged is removed before the error is explained: a few inodes are free again."""
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    monkeypatch.setattr(os, "statvfs", lambda _: facts(1000, left, 40))
    assert sentence in str(explain(error, tmp_path))


@pytest.mark.parametrize(
    ("files", "left", "free", "sentence"),
    [
        (
            1000,
            0,
            40,
            "no inodes (files) are left on /: all but 0 of 1,000 are in use, though it has 40",
        ),
        (1000, 3, 40, "no inodes (files) are left"),  # a temporary file was removed since
        (1000, 0, 0, "the disk is full: / has 0 of 40 MiB free"),
        (1000, 900, 0, "the disk is full"),
        (0, 0, 40, "the disk is full: / has 40 of 40"),  # a file system without inodes of its own, as btrfs
    ],
)
def test_bytes_and_inodes(
    files: int, left: int, free: int, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: facts(files, left, free))
    assert words(fault(errno.ENOSPC)).startswith(sentence)


def test_an_immutable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.touch()
    monkeypatch.setattr("fcntl.ioctl", lambda *_: (0x10).to_bytes(8, sys.byteorder))
    found = words(fault(errno.EPERM, str(path)))
    assert found.startswith(f"{path} cannot be changed: {path} is immutable or append-only; remove that flag")


def test_a_file_larger_than_the_limit(tmp_path: Path) -> None:
    program = (
        "import resource, sys\nfrom icd_assets.runtime.machine_errors import explain\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    with open(sys.argv[1], 'wb') as file:\n        file.write(bytes(5000))\n"
        "except OSError as error:\n    print(explain(error))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a")], capture_output=True, text=True)
    assert "a file becomes larger than the limit of 1,000 bytes; raise it (ulimit -f)" in ended.stdout


# Databases


def sqlite_error(act: str, folder: Path) -> BaseException:
    """What SQLAlchemy makes of a database in that state."""
    path = folder / "runs.db"
    if act == "no table":
        path.touch()
    elif act == "no file":
        path = folder / "nowhere" / "runs.db"
    elif act == "no database":
        path.write_bytes(b"x" * 5000)
    else:
        with closing(sqlite3.connect(path)) as made:
            made.execute("CREATE TABLE runs (x)")
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0.05})
    with closing(sqlite3.connect(path if path.parent.is_dir() else ":memory:", isolation_level=None)) as other:
        if act == "locked":
            other.execute("BEGIN EXCLUSIVE")
        statement = "INSERT INTO runs VALUES (1)"
        with pytest.raises(sqlalchemy.exc.DatabaseError) as raised, engine.begin() as connection:
            if act == "removed":
                connection.execute(sqlalchemy.text("SELECT * FROM runs"))
                path.unlink()
            connection.execute(sqlalchemy.text(statement))
    engine.dispose()
    return raised.value


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        ("locked", "Dagster's records ({home}): locked by another program; wait for it or end it"),
        ("no table", "Dagster's records ({home}): its tables are not there (no such table: runs)"),
        ("no file", "Dagster's records ({home}): it cannot be opened"),
        ("no database", "Dagster's records ({home}): damaged (file is not a database); restore it"),
        ("removed", "Dagster's records ({home}): its file was removed or moved while it was in use"),
    ],
)
def test_dagsters_database(act: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert words(sqlite_error(act, tmp_path)).startswith(sentence.format(home=tmp_path))


def test_a_home_that_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    assert words(sqlite_error("no file", tmp_path)).startswith(f"{tmp_path / 'home'} is not there any more")


def test_a_server_that_does_not_answer() -> None:
    engine = sqlalchemy.create_engine("postgresql+psycopg2://me:secret@127.0.0.1:1/records")
    pytest.importorskip("psycopg2")
    with pytest.raises(sqlalchemy.exc.OperationalError) as raised:
        engine.connect()
    found = words(raised.value)
    assert found.startswith("Dagster's records do not open: PostgreSQL does not serve them (connection to server")
    assert "secret" not in found


def test_a_full_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA max_page_count = 3")
        with pytest.raises(sqlite3.OperationalError) as full:
            connection.execute("INSERT INTO t VALUES (?)", ("x" * 100_000,))
    connection.close()
    assert "the disk is full" in words(full.value, tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        fault(errno.ENOENT),
        fault(errno.ENOENT, "nvidia-smi"),
        fault(errno.ENOENT, f"{sys.prefix}/lib/a.py"),
        fault(errno.EINVAL),
        RuntimeError("shape"),
        ImportError("no module named x"),
        KeyError("x"),
        sqlite3.OperationalError('near "SELEC": syntax error'),
        subprocess.CalledProcessError(1, ["git"]),
    ],
    ids=repr,
)
def test_everything_else_is_an_error(error: Exception) -> None:
    assert explain(error, Path("/")) is None
