"""An ``OSError`` as one sentence: what was refused, what for, and what helps."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import resource
import stat
import sys
from pathlib import Path

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import printable

GOES_ON = "then run again: it goes on from where it was"
_AGAIN = "run again, and what is missing is made again"

_BLOCK = 1 << 16  # bytes: with less than these free nothing more can be written
_LITTLE = 1 << 20
_FEW = 16  # files
_GET_FLAGS, _IMMUTABLE, _APPEND_ONLY = 0x80086601, 0x10, 0x20  # of ioctl_iflags(2)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FAILING = (errno.EIO, errno.EUCLEAN, errno.EREMOTEIO, errno.ENXIO, errno.ENODEV)
_AWAY = (errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENOLINK)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
# Never expected by anyone: whatever else goes wrong after one of these goes wrong because of it.
SURELY = (*_FULL, *_TOO_MANY, errno.ENOMEM, errno.EIO, errno.EUCLEAN, errno.ESTALE, errno.EROFS)

_BY_NUMBER = {
    errno.ELOOP: "its symbolic links lead round in a circle; remove them or name another place",
    errno.ETXTBSY: f"it is a program at work, which cannot be written; end it, {GOES_ON}",
    errno.EISDIR: "it is a folder, where a file is expected; move it away or name another place",
    errno.ENAMETOOLONG: "this name is too long for the disk; name another place",
    errno.ENOTEMPTY: f"something else writes into this folder; end it, {GOES_ON}",
    errno.EBUSY: f"it is in use, as a mount point is; name another place, {GOES_ON}",
    errno.EXDEV: "it lies on another file system than the rest of its folder; keep a folder on one",
    errno.EMLINK: "it has as many links as the disk allows; name another place",
}


def explain_os(error: OSError, folder: Path) -> UserError | None:
    """The sentence, or None for what is no fault of the machine. folder: the place, if ``error`` names none."""
    code, named = error.errno, error.filename is not None
    path = _path(error, folder)
    shown = printable(str(path))
    if code in _FULL:
        return disk_full(path, quota=code == errno.EDQUOT)
    if code == errno.EROFS:
        return read_only(path)
    if code in (errno.EACCES, errno.EPERM):
        return refused(path, immutable_first=code == errno.EPERM)
    if code in _TOO_MANY:
        return UserError(f"too many files are open; raise the limit (ulimit -n), {GOES_ON}.")
    if code in (errno.EIO, errno.EUCLEAN) or (named and code in _FAILING):
        return disk_failed(path)
    if code == errno.ESTALE or (named and code in _AWAY):
        return UserError(
            f"{shown}: the network or user file system of it does not answer any more ({os.strerror(code)}); "
            f"mount it again, {GOES_ON}."
        )
    if code == errno.ENOLCK or (not named and code in NO_LOCKS):
        return no_locks(path)
    if code == errno.ENOENT:
        return _missing(error, path, named=named)
    if named and error.strerror and code is not None and error.strerror != os.strerror(code):
        return UserError(f"{shown}: {error.strerror}; move it away, {GOES_ON}.")  # words of our own
    if code == errno.EFBIG:
        return file_too_large(path)
    if code in (errno.ENOTDIR, errno.EEXIST) and named:
        return _no_folder(path, made=code == errno.EEXIST)
    words = _BY_NUMBER.get(code) if code is not None and named else None
    return UserError(f"{shown}: {words}.") if words is not None else None


def _no_folder(path: Path, *, made: bool) -> UserError | None:
    """``made``: a folder was to be made there; None if there is one, so that it was no folder that was refused."""
    there = next((one for one in (path, *path.parents) if os.path.lexists(one)), path)
    if made and there.is_dir():
        return None
    what = "a link that leads to no folder" if there.is_symlink() else "a file, not a folder"
    at = "" if there == path else f"{printable(str(path))}: "
    return UserError(f"{at}{printable(str(there))} is {what}; move it away or name another place.")


def disk_full(path: Path, *, quota: bool = False) -> UserError:
    """What there is no more of, bytes or files or a user's share of them, on the file system of ``path``."""
    mount = mount_point(path)
    try:
        facts = os.statvfs(mount)
    except OSError:
        return UserError(f"the disk of {printable(str(path))} is full; free some space, {GOES_ON}.")
    where, free = printable(str(mount)), facts.f_bavail * facts.f_frsize
    space = f"{free / 2**20:,.0f} of {facts.f_blocks * facts.f_frsize / 2**20:,.0f} MiB free"
    if quota:
        return UserError(
            f"the quota of this user on {where} is used up, where the disk has {space}; remove files of yours or "
            f"ask for a larger quota, {GOES_ON}."
        )
    if _few_files(facts) and free >= (_LITTLE if facts.f_favail else _BLOCK):
        return UserError(
            f"no inodes (files) are left on {where}: all but {facts.f_favail:,} of {facts.f_files:,} are in use, "
            f"though it has {space}; remove files, many small ones first, {GOES_ON}."
        )
    return UserError(f"the disk is full: {where} has {space}; free some space, {GOES_ON}.")


def file_limit() -> int | None:
    """The size in bytes that no file of this process may pass; None without one."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def file_too_large(path: Path) -> UserError:
    limit = file_limit()
    which = f"of {limit:,} bytes" if limit is not None else "of its disk"
    return UserError(
        f"{printable(str(path))}: a file becomes larger than the limit {which}; raise it (ulimit -f) or name a "
        f"place on another disk, {GOES_ON}."
    )


def disk_failed(path: Path) -> UserError:
    return UserError(f"{printable(str(path))}: the disk failed to read or write it; check the disk, {GOES_ON}.")


def no_locks(path: Path) -> UserError:
    return UserError(
        f"the file system of {printable(str(path))} refuses file locks, without which two writers would harm each "
        "other; name a place on a local disk, or mount it with locks."
    )


def read_only(path: Path) -> UserError:
    return UserError(
        f"{printable(str(path))} cannot be written: {printable(str(mount_point(path)))} is mounted read-only; "
        "mount it for writing or name another place."
    )


def refused(path: Path, *, immutable_first: bool = False) -> UserError:
    """Why this user may not read or write ``path``: whose permission is missing, or which flag forbids it."""
    shown, fixed, closed = printable(str(path)), _fixed(path), _closed(path)
    if fixed is not None and (immutable_first or closed is None):
        return UserError(
            f"{shown} cannot be changed: {printable(str(fixed))} is immutable or append-only; remove that flag "
            f"(chattr -i -a), {GOES_ON}."
        )
    if closed is not None:
        place, what = closed
        return UserError(
            f"{shown} may not be read or written (Permission denied): {printable(str(place))} may not be "
            f"{what} by {_me()}{_mode(place)}; fix "
            f"its permissions, {GOES_ON}."
        )
    if immutable_first:
        return UserError(
            f"{shown}: the system does not permit {_me()} to do this, as with a file of somebody else's in a "
            f"shared folder, or by a security policy; let its owner do it, {GOES_ON}."
        )
    return UserError(
        f"{shown}: permission denied for {_me()}, by an access list or a security policy; fix its permissions, "
        f"{GOES_ON}."
    )


def unwritable(path: Path) -> UserError | None:
    """Why ``path`` cannot be written, where that can be seen: gone, mounted read-only, a flag, a permission."""
    if (gone := _gone(path)) is not None:
        return gone
    try:
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return read_only(path)
    except OSError:
        return None
    return refused(path) if _fixed(path) is not None or _closed(path) is not None else None


def is_full(path: Path) -> bool:
    """Whether nearly no byte, or no file, is left where ``path`` is: some come back when work is cleared away."""
    try:
        facts = os.statvfs(mount_point(path))
    except OSError:
        return False
    return facts.f_bavail * facts.f_frsize < _LITTLE or _few_files(facts)


def _few_files(facts: os.statvfs_result) -> bool:
    return facts.f_files > 0 and facts.f_favail <= max(_FEW, facts.f_files // 1000)


def mount_point(path: Path) -> Path:
    """Where the file system of ``path`` is mounted, as far as it can be seen. A folder that is mounted in another
    place of its own file system, as a container's volume, has its own permission to be written."""
    path = path if path.is_absolute() else path.absolute() if _here_is_there() else Path("/")
    path, mounted = Path(os.path.realpath(path)), _mount_points()
    while path != path.parent:
        try:
            if str(path) in mounted or (path.exists() and path.is_mount()):
                break
        except OSError:  # in a folder that may not be entered
            pass
        path = path.parent
    return path


def _mount_points() -> set[str]:
    """Field 5 of each line of proc(5)'s mountinfo, which writes blanks and backslashes in octal."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return set()
    places = (line.split(" ")[4] for line in text.split("\n") if line)
    return {re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place) for place in places}


def _path(error: OSError, folder: Path) -> Path:
    for name in (error.filename2, error.filename):  # of two, the second is written
        if isinstance(name, str | bytes):
            return Path(os.fsdecode(name))
    return folder


def _missing(error: OSError, path: Path, *, named: bool) -> UserError | None:
    if "usable temporary directory" in str(error.strerror):
        return UserError(
            "no folder for temporary files can be written, neither TMPDIR nor /tmp: they are full, read-only or "
            f"not permitted; set TMPDIR to one that can, {GOES_ON}."
        )
    if not named:
        return None if _here_is_there() else _here_is_gone()
    program = len(path.parts) == 1 and not path.is_absolute() and _here_is_there()  # a bare word, as of subprocess
    return None if program or _is_ours(path) else _gone(path, always=True)


def _gone(path: Path, *, always: bool = False) -> UserError | None:
    """``path``, or the highest folder above it that is missing; None for what is there, unless ``always``."""
    if not path.is_absolute() and not _here_is_there():
        return _here_is_gone()
    whole = path.absolute()
    missing = next((one for one in (*reversed(whole.parents), whole) if not _there(one)), None)
    if missing is None:
        missing = whole if always else None
    if missing is None:
        return None
    shown = printable(str(missing))
    if missing.is_symlink():
        return UserError(f"{shown} is a link to something that is not there; put that back, or remove the link.")
    return UserError(f"{shown} is not there any more; if it was removed meanwhile, {_AGAIN}; else put it back.")


def _here_is_there() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _here_is_gone() -> UserError:
    return UserError("the folder in which this command runs was removed; cd to one that is there, then run again.")


def _there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # it may not be seen
        return True
    return True


def _is_ours(path: Path) -> bool:
    """A file of the installation: that it is missing is to be seen with its traceback."""
    return path.is_relative_to(sys.prefix) or path.is_relative_to(Path(__file__).parents[1])


def _closed(path: Path) -> tuple[Path, str] | None:
    """The first of the folders above ``path``, or itself, that lacks a permission, and what for."""
    whole = path if path.is_absolute() else Path.cwd() / path if _here_is_there() else path
    for folder in reversed(whole.parents):
        if os.path.lexists(folder) and not os.access(folder, os.X_OK):
            return folder, "entered"
    there = next((one for one in (whole, *whole.parents) if os.path.lexists(one)), whole)
    uses = ((os.R_OK, "read"), (os.W_OK, "written")) if there == whole else ((os.W_OK, "written"),)
    for mode, what in uses:
        if not os.access(there, mode):
            return there, what
    if there == whole and not os.access(whole.parent, os.W_OK):
        return whole.parent, "written"
    return None


def _fixed(path: Path) -> Path | None:
    """``path`` or its folder, whichever has a flag that not even its owner may pass over."""
    for one in (path, path.parent):
        try:
            if not stat.S_ISREG(one.stat().st_mode) and not one.is_dir():
                continue
            descriptor = os.open(one, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            flags = int.from_bytes(fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8))[:4], sys.byteorder)
        except OSError:  # a file system without flags
            continue
        finally:
            os.close(descriptor)
        if flags & (_IMMUTABLE | _APPEND_ONLY):
            return one
    return None


def _me() -> str:
    return f"user {os.geteuid()}"


def _mode(path: Path) -> str:
    try:
        facts = path.stat()
    except OSError:
        return ""
    return f" (it is user {facts.st_uid}'s, {stat.filemode(facts.st_mode)})"
