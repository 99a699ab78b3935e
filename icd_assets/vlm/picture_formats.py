"""Which kinds of picture files are opened, and what the others are called."""

from __future__ import annotations

import ctypes
import struct
from contextlib import suppress

from PIL import Image, TiffImagePlugin, WebPImagePlugin, _imaging

# What datasets are made of, by decoders that browsers and their fuzzers have worn smooth. Every other kind that
# Pillow knows is left closed: some start a program (PostScript), some are decoders that nobody has looked at for
# years, and of AVIF, JPEG 2000 and HEIC the memory and time are their own codec's to decide.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
NAMES = {"WEBP": "WebP"}  # of those that are written otherwise

# Pillow takes these up when it first needs them; here nothing but the seven is ever taken up.
Image.preinit()
_TAKEN_UP = (TiffImagePlugin, WebPImagePlugin)

# libtiff writes what it finds wrong straight to the terminal, beside what Pillow raises.
with suppress(OSError, AttributeError):
    _silence = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    _silence.argtypes, _silence.restype = (ctypes.c_void_p,), ctypes.c_void_p
    _silence(None)

_STARTS = (
    ((b"%!PS", b"\xc5\xd0\xd3\xc6"), "PostScript (EPS)"),
    ((b"%PDF",), "PDF"),
    ((b"8BPS",), "Photoshop (PSD)"),
    ((b"DDS ",), "DDS"),
    ((b"icns",), "ICNS"),
    ((b"\0\0\1\0", b"\0\0\2\0"), "an icon (ICO)"),
    ((b"\xd0\xcf\x11\xe0",), "an OLE file (FlashPix, MIC)"),
    ((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"), "JPEG 2000"),
    ((b"\0\0\0\x0cJXL ", b"\xff\x0a"), "JPEG XL"),
    ((b"\xd7\xcd\xc6\x9a",), "a Windows metafile (WMF)"),
    ((b"qoif",), "QOI"),
    ((b"\x01\xda",), "SGI"),
    ((b"\x59\xa6\x6a\x95",), "a Sun raster"),
    ((b"SIMPLE",), "FITS"),
    ((b"\x89HDF",), "HDF5"),
    ((b"GRIB",), "GRIB"),
    ((b"BUFR",), "BUFR"),
    ((b"BLP1", b"BLP2"), "BLP"),
    ((b"FTEX",), "FTEX"),
    ((b"\xb1\x68\xde\x3a",), "DCX"),
    ((b"\x0a\0", b"\x0a\2", b"\x0a\3", b"\x0a\5"), "PCX"),
    ((b"DanM", b"LinS"), "MSP"),
    ((b"/* XPM */",), "XPM"),
    ((b"#define",), "XBM"),
    ((b"P7 332",), "an XV thumbnail"),
    ((b"gimp xcf",), "GIMP (XCF)"),
    ((b"\x76\x2f\x31\x01",), "OpenEXR"),
    ((b"\x80\xe8\0\0",), "PIXAR"),
    ((b"\0\0\1\xb3", b"\0\0\1\xba"), "MPEG"),
    ((b"<svg",), "SVG"),
)
_BRANDS = (
    ((b"avif", b"avis"), "AVIF"),
    ((b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
)
_SPIDER_KINDS = (1, 3, -11, -12, -21, -22)
START = 128  # bytes by which a kind is known


def closed_kind(start: bytes) -> str | None:
    """What a file that begins with ``start`` is called, of the kinds that are not opened; None for any other."""
    if start[4:8] == b"ftyp":
        return next(
            (name for brands, name in _BRANDS if start[8:12] in brands), "a video or a picture of one (MP4)"
        )
    if start[4:6] in (b"\x11\xaf", b"\x12\xaf"):
        return "an animation (FLI)"
    if start[40:44] == b" EMF":
        return "a Windows metafile (EMF)"
    return next((name for starts, name in _STARTS if start.startswith(starts)), _spider(start))


def _spider(start: bytes) -> str | None:
    """SPIDER has no mark; its first numbers are whole ones that agree with each other."""
    if len(start) < 108:
        return None
    for order in "<>":
        head = (0.0, *struct.unpack(f"{order}27f", start[:108]))  # counted from one
        if head[5] in _SPIDER_KINDS and head[13] > 0 and head[22] == head[13] * head[23] > 0:
            return "SPIDER"
    return None
