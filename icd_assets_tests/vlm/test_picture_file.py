"""Whatever stands in a picture's place: one sentence, at once, no program started, no more memory than one."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from icd_assets.datasets.images import look_at
from icd_assets.errors import UserError
from icd_assets.report.thumbnails import thumbnails
from icd_assets.vlm import images, picture_file
from icd_assets.vlm.data_url import data_url
from icd_assets.vlm.images import look, pixels_digest, read_image, size_of, treatment
from icd_assets.vlm.picture_file import NoPicture, open_picture
from icd_assets_tests.programs import program


def refused(path: Path) -> str:
    """What every reader finds wrong with it."""
    began = time.monotonic()
    size, problem = look(path)
    assert size is None and problem is not None
    assert treatment(path) is None
    size_of(path)
    for read in (read_image, data_url):
        with pytest.raises(UserError) as error:
            read(path)
        sentence = str(error.value)
        assert path.name in sentence and sentence.endswith(".") and "\n" not in sentence and len(sentence) < 600
    assert time.monotonic() - began < 5
    return problem


def saved(kind: str, size: tuple[int, int] = (9, 9), mode: str = "RGB", **how: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 9 if mode in ("L", "P") else "red").save(file, kind, **how)
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.eps", "a.ps", "a"])
@pytest.mark.parametrize(
    "start", [b"", b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, 200, 0, 0, 0, 0, 0) + b"\0\0"]
)
def test_no_picture_starts_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, start: bytes
) -> None:
    mark, path = tmp_path / "mark", tmp_path / name
    for command in ("gs", "gswin32c", "djpeg", "ppmtogif"):
        (tmp_path / command).write_text(f"#!/bin/sh\necho $0 >> {mark}\n")
        (tmp_path / command).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    subprocess.run(["gs"], check=True)
    mark.unlink()
    path.write_bytes(start + b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")
    assert refused(path) == "unreadable: it is PostScript (EPS), which is not opened: convert it to PNG or JPEG"
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"8BPS\0\1" + b"\0" * 90, "Photoshop (PSD)"),
        (saved("DDS"), "DDS"),
        (saved("SPIDER", mode="F"), "SPIDER"),
        (saved("JPEG2000"), "JPEG 2000"),
        (saved("ICNS", (16, 16)), "ICNS"),
        (saved("ICO", (16, 16)), "an icon (ICO)"),
        (saved("PCX"), "PCX"),
        (saved("SGI"), "SGI"),
        (saved("XBM", mode="1"), "XBM"),
        (saved("PDF"), "PDF"),
        (saved("QOI"), "QOI"),
        (saved("MSP", mode="1"), "MSP"),
        (saved("BLP", mode="P"), "BLP"),
        (b"\0\0\0\x20ftypavif" + b"\0" * 90, "AVIF"),
        (b"\0\0\0\x20ftypheic" + b"\0" * 90, "HEIC"),
        (b"\0\0\0\0\x12\xaf" + b"\0" * 200, "an animation (FLI)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "an OLE file (FlashPix, MIC)"),
        (b"\xd7\xcd\xc6\x9a\0\0" + b"\0" * 90, "a Windows metafile (WMF)"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ],
)
def test_a_kind_that_is_not_opened_is_named(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert refused(path) == f"unreadable: it is {found}, which is not opened: convert it to PNG or JPEG"


def bound_socket(path: Path) -> None:
    os.chdir(path.parent)  # an address is short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.write(saved("PNG"))
        file.truncate(10 << 30)


@pytest.mark.parametrize(
    ("put", "problem"),
    [
        (os.mkfifo, "unreadable: it is a pipe, not a file"),
        (bound_socket, "unreadable: it is a socket, not a file"),
        (Path.mkdir, "unreadable: it is a folder, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "unreadable: it is a device, not a file"),
        (lambda path: path.symlink_to("/dev/stdin"), "unreadable: it is "),
        (lambda path: path.symlink_to(path), "unreadable: Too many levels of symbolic links"),
        (lambda path: path.symlink_to("absent"), "missing"),
        (sparse, "unreadable: it has 10,240.0 MiB, of which at most 256 are read"),
    ],
)
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: Callable[[Path], object], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "a.jpg")
    assert refused(tmp_path / "a.jpg").startswith(problem)
    with pytest.raises(OSError):  # which its caller names
        pixels_digest(tmp_path / "a.jpg")


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    assert look(tmp_path / "a\0.jpg") == (None, "unreadable: embedded null byte")
    assert look(tmp_path / ("a" * 300)) == (None, "unreadable: File name too long")


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, before: bytes = b"", color: int = 2) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0))
    rows = zlib.compress(b"\0" * (3 * 9 + 1) * 9)
    return b"\x89PNG\r\n\x1a\n" + head + before + chunk(b"IDAT", rows) + chunk(b"IEND")


def jpeg(width: int, height: int) -> bytes:
    content = saved("JPEG", progressive=True)
    at = content.find(b"\xff\xc2") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def scans(count: int) -> bytes:
    content = saved("JPEG", (64, 64), "L", progressive=True)
    return content[:-2] + content[content.rfind(b"\xff\xda") : -2] * count + b"\xff\xd9"


def gif(screen: int, frame: int, before: bytes = b"") -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0xF0, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + before + b"," + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + b"\x02\x02\x44\x01\x00;"


def tiff(changed: dict[int, tuple[int, int, int]], after: bytes = b"") -> bytes:
    """One grey strip of 16×16; ``changed``: {tag: (type, count, value)}, values of ``after`` begin at 1000."""
    tags = {256: (4, 1, 16), 257: (4, 1, 16), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    tags |= {273: (4, 1, 1000), 277: (3, 1, 1), 278: (4, 1, 16), 279: (4, 1, 256)} | changed
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags))
    head += b"".join(struct.pack("<HHII", tag, *value) for tag, value in sorted(tags.items())) + b"\0" * 4
    return head.ljust(1000, b"\0") + after


_EXIF = struct.pack("<H", 9000) + b"".join(struct.pack("<HHII", tag, 5, 9000, 8) for tag in range(9000))
PIXELS, WEBP = "pixels, of which at most 50.5 million", "pixels, of which at most 34 million"
PIECES = "it is of thousands of tiny pieces, or has endless notes"
BOMBS = {
    "wide.png": (png(14_000, 12_500, color=6), f"it has 14000×12500 {PIXELS}"),
    "wider.png": (png(65_535, 65_535), PIXELS),
    "wide.jpg": (jpeg(65_500, 65_500), PIXELS),
    "long.jpg": (jpeg(1_000, 65_000), f"it has 1000×65000 {PIXELS}"),
    "wide.bmp": (saved("BMP")[:18] + struct.pack("<ii", 60_000, 60_000) + saved("BMP")[26:], PIXELS),
    "wide.ppm": (b"P6 9000 9000 255\n" + b"\0" * 99, f"it has 9000×9000 {PIXELS}"),
    "screen.gif": (gif(65_535, 1), PIXELS),
    "frame.gif": (gif(1, 65_535), PIXELS),
    "canvas.webp": (
        b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0" + b"\x0f\x27\0" * 2,
        f"it has 10000×10000 {WEBP}",
    ),
    "lossless.webp": (b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0/\xff\xff\xff\x0f" + b"\0" * 9, f"16384×16384 {WEBP}"),
    "wide.tif": (tiff({256: (4, 1, 9000), 257: (4, 1, 9000)}), f"it has 9000×9000 {PIXELS}"),
    "tile.tif": (
        tiff({322: (4, 1, 40_000), 323: (4, 1, 40_000), 324: (4, 1, 1000)}),
        f"it has 40000×40000 {PIXELS}",
    ),
    "strips.tif": (tiff({273: (4, 9_000_000, 1000)}, b"\0" * 36_000_000), PIECES),
    "numbers.tif": (tiff({1000: (5, 5_000_000, 1000)}, b"\0" * 40_000_000), PIECES),
    "lzma.tif": (tiff({259: (3, 1, 34_925)}), "it is a TIFF compressed by lzma, which is not opened"),
    "scans.jpg": (scans(5_000), "it is a JPEG of 5,006 scans, of which programs write ten"),
    "chunks.png": (png(9, 9, chunk(b"abCd") * 100_000), PIECES),
    "exif.png": (png(9, 9, chunk(b"eXIf", b"II*\0\x08\0\0\0" + _EXIF * 3)), "its EXIF notes have 316 KiB"),
    "profile.png": (png(9, 9, chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 99_000_000, 1))), "too large"),
    "text.png": (png(9, 9, chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 1_000_000)) * 80), "text chunks"),
    "comment.gif": (gif(2, 2, b"!\xfe" + (b"\xff" + b"c" * 255) * 100_000 + b"\0"), PIECES),
    "blocks.gif": (gif(2, 2, (b"!\xfe" + b"\x01c\0") * 100_000), PIECES),
    "comment.ppm": (b"P6 #" + b"x" * 1_000_000 + b"\n9 9 255\n" + b"a" * 243, PIECES),
    "plain.ppm": (b"P3 8000 6000 255\n" + b"9 " * 999, "takes minutes to read"),
    "odd.ppm": (b"P6 3000 2000 1000\n" + b"\0" * 999, "takes minutes to read"),
    "notes.jpg": (saved("JPEG")[:2] + (b"\xff\xe2\xff\xff" + b"x" * 65_533) * 600 + saved("JPEG")[2:], PIECES),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_grow_is_refused_before_it_does(tmp_path: Path, name: str) -> None:
    content, words = BOMBS[name]
    path = tmp_path / name
    path.write_bytes(content)
    assert words in refused(path)


def peak(*paths: Path) -> int:
    """MiB of a process that reads them one after the other."""
    done = subprocess.run(
        program("peak_of_a_picture", *map(str, paths)), capture_output=True, text=True, check=True
    )
    return int(done.stdout) >> 10


def test_nothing_grows_before_it_is_refused(tmp_path: Path) -> None:
    for name, (content, _) in BOMBS.items():
        (tmp_path / name).write_bytes(content)
    assert peak(*tmp_path.iterdir()) < 200


@pytest.mark.parametrize(
    ("mode", "kind", "size", "how"),
    [
        ("RGBA", "PNG", (8192, 6144), {"compress_level": 1}),
        ("RGBA", "WEBP", (7680, 4320), {"lossless": True, "quality": 0, "method": 0}),
        ("CMYK", "JPEG", (7680, 4320), {"progressive": True, "subsampling": 0}),
    ],
)
def test_the_largest_that_are_read_stay_below_a_gibibyte(
    tmp_path: Path, mode: str, kind: str, size: tuple[int, int], how: dict[str, object]
) -> None:
    path = tmp_path / "a"
    Image.new(mode, size, (9, 99, 200, 77)).save(path, kind, **how)
    assert 200 < peak(path) < 650


def test_of_large_pictures_none_is_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / f"{side}.png" for side in (5, 20, 30, 6, 40)]
    for path in paths:
        path.write_bytes(saved("PNG", (int(path.stem), 1)))
    monkeypatch.setattr(images, "_AHEAD", 10)
    threads = set()
    shown = images._shown

    def noted(file: Image.Image) -> Image.Image:
        threads.add((file.width > 10, threading.current_thread() is threading.main_thread()))
        return shown(file)

    monkeypatch.setattr(images, "_shown", noted)
    assert [image.width for image in images.read_images(paths)] == [5, 20, 30, 6, 40]
    assert threads == {(False, False), (True, True)}
    paths[2].write_bytes(b"")
    with pytest.raises(UserError, match=r"30\.png cannot be read"):
        list(images.read_images(paths))


def test_pictures_that_are_large_together_wait_for_each_other() -> None:
    room, order = picture_file._Room(100), []

    def take(pixels: int) -> None:
        with room.taken(pixels):
            order.append(pixels)

    with room.taken(60):
        waiting = threading.Thread(target=take, args=(70,))
        waiting.start()
        take(40)
        assert order == [40]
    waiting.join(5)
    take(1_000)  # larger than all: alone
    assert order == [40, 70, 1_000]


def test_a_picture_takes_room_while_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG"))
    monkeypatch.setattr(picture_file, "_ROOM", picture_file._Room(100))
    other = threading.Thread(target=read_image, args=(path,))
    with open_picture(path):
        other.start()
        other.join(0.2)
        assert other.is_alive()
        assert size_of(path) == (9, 9)  # a header takes none
    other.join(5)
    assert not other.is_alive()


@pytest.mark.parametrize(
    "error",
    [
        *(AssertionError(), KeyError("x"), RecursionError("deep"), MemoryError(), NotImplementedError("no")),
        *(ZeroDivisionError(), OverflowError("big"), StopIteration(), UnicodeDecodeError("a", b"", 0, 1, "b")),
        *(
            BufferError(),
            ImportError("gone"),
            Image.DecompressionBombError("x" * 10_000),
            OSError(5, "Input error"),
        ),
        Exception("\x1b[2J\x1b]0;title\x07 line\nline"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("place", ["open", "load"])
def test_whatever_a_decoder_raises_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, place: str
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(*((Image, "open") if place == "open" else (ImageFile.ImageFile, "load")), broken)
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG"))
    assert refused(path).isprintable()


def test_a_damaged_tiff_writes_nothing_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = bytearray(saved("TIFF", (60, 60), compression="tiff_adobe_deflate"))
    content[12:16] = b"\xff" * 4
    (tmp_path / "a.tif").write_bytes(content)
    assert refused(tmp_path / "a.tif") == "unreadable: decoder error -2"
    assert capfd.readouterr() == ("", "")


def test_an_interrupt_is_none_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(saved("PNG"))
    with pytest.raises(KeyboardInterrupt), open_picture(path):
        raise KeyboardInterrupt
    with pytest.raises(NoPicture, match="division"), open_picture(path) as picture:
        _ = picture.width // 0


def test_nothing_stays_open(tmp_path: Path) -> None:
    for name, (content, _) in BOMBS.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "a.tif").write_bytes(saved("TIFF", compression="tiff_lzw"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    found = look_at(sorted(tmp_path.iterdir()))  # and one that is refused ends no walk
    assert list(found.sizes) == [tmp_path / "a.tif"] and len(found.bad) == len(BOMBS)
    assert thumbnails(sorted(tmp_path.iterdir()), 100_000, 5).unreadable == len(BOMBS)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
