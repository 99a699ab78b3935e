"""What ``hostile_files.py`` puts where, and the commands that meet it."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CELL = ("demo", "rand_sampler", "tiny_vl")
Put = Callable[[Path], object]


@dataclass
class Case:
    """A command, and what is put where before it runs."""

    kind: str
    name: str
    command: tuple[str, ...]
    puts: list[tuple[Path, Put]] = field(default_factory=list)
    environ: dict[str, str | bytes] = field(default_factory=dict)


# -- what is put in a file's place ----------------------------------------------------------------------------


def content(text: str | bytes) -> Put:
    return lambda path: path.write_bytes(text.encode() if isinstance(text, str) else text)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)


def bound(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind("s")  # a socket's own path is short
        Path("s").rename(path.name)
    finally:
        os.chdir(here)


PLACES: dict[str, Put] = {
    "fifo": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path),
    "folder": Path.mkdir,
    "sparse": sparse,
    "socket": bound,
    "dangling": lambda path: path.symlink_to("absent"),
}
TEXTS: dict[str, Put] = {
    "empty": content(b""),
    "truncated": content(b'{"a": [1, 2'),
    "deep": content(b"[" * 300_000),
    "number": content(b'{"files": 1' + b"0" * 400 + b"}"),
    "huge float": content(b'{"files": [1e400], "manifest_schema": 1e400}'),
    "other shape": content(b'[{"a": null}, 7, "x"]'),
    "entries": content(b'{"a": 7, "b": [1], "files": {"x": "y"}, "known": [[]], "want": []}'),
    "zeros": content(bytes(5000)),
    "latin-1": content("é".encode("latin-1") * 50),
    "utf-16": content('{"a": 1}'.encode("utf-16")),
    "escapes": content('{"a": "\x1b]0;t\x07\x1b[2J"}'),
    "surrogate": content(b'{"a": "\\ud800", "want": {"asset": "\\ud800"}}'),
}


def png(width: int, height: int, color: int = 6) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    row = bytes(1 + width * (4 if color == 6 else 3))
    packer, packed = zlib.compressobj(9), bytearray()
    for _ in range(height):
        packed += packer.compress(row)
    packed += packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", bytes(packed)) + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\nshowpage\n%%EOF\n"


def pictures() -> dict[str, Put]:
    avif = b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf" + bytes(64)
    jp2 = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 \0\0\0\x2djp2h" + b"\xff" * 40
    dds = b"DDS \x7c\0\0\0" + b"\xff" * 120
    spider = struct.pack(">30f", 1, 4, *([1.0] * 28)) + bytes(200)
    tiff = b"II*\0\x08\0\0\0\x01\0\x00\x01\x04\0\x01\0\0\0\xff\xff\xff\xff\x08\0\0\0"
    webp = b"RIFF\x24\0\0\0WEBPVP8X\x0a\0\0\0\x10\0\0\0\xff\xff\xff\xff\xff\xff" + bytes(10)
    gif = b"GIF89a\xff\xff\xff\xff\xf7\0\0" + bytes(768) + b",\0\0\0\0\xff\xff\xff\xff\0\x08\x01\0\0;"
    return {
        "postscript": content(EPS),
        "175 megapixels": content(png(17500, 10000)),
        "png cut": content(png(20, 20)[:-20]),
        "avif": content(avif),
        "jpeg 2000": content(jp2),
        "dds": content(dds),
        "spider": content(spider),
        "tiff loop": content(tiff),
        "webp": content(webp),
        "gif": content(gif),
        "psd": content(b"8BPS\0\x01" + b"\xff" * 60),
        "icns": content(b"icns\xff\xff\xff\xff" + b"\xff" * 60),
        "xpm": content(b"/* XPM */\n" + b'"9999 9999 9999 9",' * 20),
        "pcx": content(b"\x0a\x05\x01\x08" + b"\xff" * 124),
        "sgi": content(b"\x01\xda\x01\x01\0\x03\xff\xff\xff\xff\0\x04" + bytes(500)),
        "ppm number": content(b"P6 " + b"9" * 5000 + b" 1 255\n"),
        "text": content(b"no picture"),
    } | PLACES


# -- pickles and their containers ------------------------------------------------------------------------------


def zipped(entries: list[tuple[str, bytes]], compress: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compress) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def container(pickled: bytes, *more: tuple[str, bytes]) -> bytes:
    return zipped(
        [("archive/data.pkl", pickled), ("archive/byteorder", b"little"), ("archive/version", b"3\n"), *more]
    )


def nested_tuples(depth: int) -> bytes:
    return b"\x80\x02}" + b")" + b"\x85" * depth + b"K\x01s."


def shared_lists(levels: int) -> bytes:
    body = b"\x80\x02]q\0"
    for index in range(levels):
        one = b"h" + bytes([index])
        body += b"](" + one + one + one + b"eq" + bytes([index + 1])
    return b"\x80\x02}X\x05\0\0\0model" + body[2:] + b"s."


def view(numbers: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """A dict with one tensor, as torch.save writes it."""

    def flat(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"\x8a\x08" + value.to_bytes(8, "little", signed=True) for value in values) + b"t"

    storage = (
        b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"
        + b"J"
        + struct.pack("<i", numbers)
    )
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"tQK\0"
        + flat(size)
        + flat(stride)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )
    state = b"}X\x06\0\0\0weight" + tensor + b"s"
    return b"\x80\x02}(X\x0a\0\0\0state_dict" + state + b"X\x10\0\0\0model_state_dict" + state + b"u."


def checkpoints() -> dict[str, Put]:
    plain = b"\x80\x02}."
    evil = b"\x80\x02cposix\nsystem\nX\x0c\0\0\0touch hacked\x85R."
    floats = ("archive/data/0", bytes(4 * 1000))
    twice = zipped([("archive/data.pkl", plain), ("archive/data.pkl", evil), ("archive/version", b"3\n")])
    return {
        "system": content(container(evil)),
        "twice": content(twice),
        "odd case": content(zipped([("archive/data.PKL", plain), ("archive/data.pkl", evil)])),
        "two folders": content(zipped([("a/data.pkl", plain), ("b/data.pkl", plain)])),
        "unknown entry": content(container(plain, ("archive/code/x.py", b"import os"))),
        "compressed": content(zipped([("archive/data.pkl", bytes(50_000_000))], zipfile.ZIP_DEFLATED)),
        "nested key": content(container(nested_tuples(400_000))),
        "nested lists": content(container(b"\x80\x02" + b"]" * 400_000 + b"a" * 399_999 + b".")),
        "shared lists": content(container(shared_lists(60))),
        "codec": content(
            container(b"\x80\x02c_codecs\nencode\nX\xa0\x86\x01\0" + b"a" * 100_000 + b"X\x08\0\0\0punycode\x86R.")
        ),
        "view": content(container(view(1000, (1_600_000_000,), (0,)), floats)),
        "negative": content(container(view(1000, (-5, 3), (1, 1)), floats)),
        "huge view": content(container(view(1000, (2**62, 2**62), (0, 0)), floats)),
        "memo": content(container(b"\x80\x02}r\xff\xff\xff\x7f.")),
        "long": content(container(b"\x80\x02}X\x01\0\0\0a\x8b\0\0\0\x01" + b"\x7f" * (1 << 24) + b"s.")),
        "length": content(container(b"\x80\x04}\x8d\xff\xff\xff\xff\xff\0\0\0a.")),
        "doubled": content(container(b"\x80\x02]q\0" + b"(h\0h\0e" * 60 + b".")),
        "legacy": content(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."),
        "cut": content(container(plain)[:-30]),
        "text": content(b"no checkpoint"),
    } | PLACES


SAFETENSORS: dict[str, Put] = (
    {
        "length": content(struct.pack("<Q", 2**63) + b"{}"),
        "header": content(struct.pack("<Q", 90_000_000) + b"[" * 90_000_000),
        "offsets": content(
            struct.pack("<Q", 70)
            + b'{"a":{"dtype":"F32","shape":[9999999999],"data_offsets":[0,39999999996]}}'[:70]
        ),
        "number": content(
            struct.pack("<Q", 460) + b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,1' + b"0" * 405 + b"]}}"
        ),
    }
    | {name: TEXTS[name] for name in ("empty", "zeros")}
    | PLACES
)


# -- catalogs, settings ------------------------------------------------------------------------------------------


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(["models: {}", *lines])


def dataset(name: str, **fields: str) -> str:
    entry = {"images": "images", "path": "table.csv"} | fields
    split = "{" + ", ".join(f"{key}: {json.dumps(value)}" for key, value in entry.items()) + "}"
    return f"datasets:\n  {json.dumps(name)}:\n    train: {split}\n    validation: {split}\n"


CATALOGS: dict[str, Put] = (
    {
        "bomb": content(bomb()),
        "self anchor": content("datasets: &a\n  x: *a\n"),
        "deep": content("datasets: " + "[" * 20_000),
        "python tag": content("datasets: !!python/object/apply:os.system ['touch hacked']\n"),
        "width": content(dataset("signs", images="x/{image_id:0999999999d}.jpg")),
        "attribute": content(dataset("signs", images="x/{image_id.__class__}.jpg")),
        "growth": content("models: {}\n" + dataset("signs", path="${A}" * 20)),
        "no user": content(dataset("signs", images="~nosuchuser/x", path="~nosuchuser/y")),
        "dots": content(dataset("..")),
        "long name": content(dataset("n" * 300)),
        "nul": content('datasets: {"a\\0b": {}}\n'),
        "surrogate": content('datasets: {"a\\ud800b": {train: {path: x}}}\n'),
        "escapes": content(dataset("\x1b]0;title\x07\x1b[2Jname")),
        "markup": content(dataset("[red]x[/red]")),
        "binary": content("datasets: !!binary aGVsbG8=\n"),
        "number": content("datasets: {x: {train: {path: 1" + "0" * 5000 + "}}}\n"),
        "null key": content("datasets: {null: {}, 1: {}, true: {}}\n"),
        "list key": content("datasets: {[a, b]: {}}\n"),
        "twice": content("datasets: {}\ndatasets: {}\n"),
        "timestamp": content("datasets: {x: 2001-99-99}\n"),
    }
    | TEXTS
    | PLACES
)

ENVS: dict[str, Put] = (
    {
        "quoted name": content("'a=b'=c\n"),
        "growth": content(
            "A="
            + "x" * 1000
            + "\n"
            + "".join(f"A{n}=${{A{n - 1 if n > 1 else ''}}}${{A{n - 1 if n > 1 else ''}}}\n" for n in range(1, 40))
        ),
        "escapes": content("RESULT_DIR=\x1b]0;t\x07x\n"),
        "nul": content(b"A=a\0b\n"),
        "no value": content("NAME\n"),
        "blank name": content("=x\n"),
        "no user": content("RESULT_DIR=~nosuchuser/x\n"),
        "long": content("RESULT_DIR=" + "x/" * 3000 + "\n"),
        "setting": content("RCE_EPOCHS=1" + "0" * 400 + "\n"),
        "nan": content("GRPO_LR=nan\n"),
    }
    | {name: TEXTS[name] for name in ("zeros", "latin-1", "utf-16", "empty")}
    | PLACES
)

ENVIRONS: dict[str, dict[str, str | bytes]] = {
    "result_dir not utf-8": {"RESULT_DIR": b"/tmp/\xff\xfe"},
    "result_dir escapes": {"RESULT_DIR": "/tmp/\x1b]0;t\x07"},
    "result_dir long": {"RESULT_DIR": "/tmp/" + "x" * 300},
    "result_dir no user": {"RESULT_DIR": "~nosuchuser/x"},
    "result_dir device": {"RESULT_DIR": "/dev/null"},
    "result_dir bucket": {"RESULT_DIR": "s3://bucket/x"},
    "catalog not utf-8": {"ICD_CATALOG": b"/tmp/\xff\xfe.yaml"},
    "huge": {"RCE_EPOCHS": "1" + "0" * 400},
    "infinite": {"GRPO_LR": "1e999"},
    "arabic digits": {"RCE_EPOCHS": "٣"},
    "name": {"RUN_NAME": "../x"},
    "name long": {"RUN_NAME": "x" * 300},
    "ascii terminal": {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    "no home": {"HOME": ""},
    "time zone": {"TZ": "nonsense/x"},
    "home no user": {"DAGSTER_HOME": "~nosuchuser/x"},
}

ANSWERS: dict[str, Put] = (
    {
        "surrogate": content(b'[{"question_id": 1, "answer": "\\ud800"}]'),
        "numbers": content(b'[{"question_id": 1e400, "answer": "a"}]'),
        "huge id": content(b'[{"question_id": 1' + b"0" * 400 + b', "answer": "a"}]'),
        "records": content(b"[" + b"{}," * 300_000 + b"{}]"),
        "parquet cut": content(b"PAR1" + bytes(200) + b"PAR1"),
    }
    | TEXTS
    | PLACES
)


# -- the cases ---------------------------------------------------------------------------------------------------


def cases(home: Path, work: Path) -> Iterator[Case]:
    results = home / "results"
    manifests = sorted(results.rglob("*.manifest.json"))
    manifests = [path for path in manifests if ".icd_assets" not in path.parts]
    one = next(path for path in manifests if "evaluation" in path.name)
    labels = next(path for path in manifests if "single_labels" in path.name)
    small = [one, labels, *(path for name in ("digests.json",) for path in results.rglob(name))]
    small += [
        path for path in [one.with_name("evaluation.json"), one.with_name("predictions.parquet")] if path.is_file()
    ]
    for path in small:
        for name, put in (TEXTS | PLACES).items():
            for command in (("status",), ("verify",), ("leaderboard",)):
                yield Case("small file", f"{path.name}: {name}", command, [(path, put)])
    for name in PLACES:
        yield Case(
            "small file",
            f"answers.sqlite: {name}",
            ("status",),
            [(results / ".icd_assets/answers.sqlite", PLACES[name])],
        )
        yield Case(
            "small file", f"dagster.yaml: {name}", ("doctor", *CELL), [(home / "dagster.yaml", PLACES[name])]
        )
    signs = work / "signs"
    (signs / "images").mkdir(parents=True)
    rows = [f"{n},what is it?,{n}.png,a thing" for n in range(12)]
    (signs / "table.csv").write_text("question_id,question,image,answers\n" + "\n".join(rows) + "\n")
    for n in range(12):
        (signs / "images" / f"{n}.png").write_bytes(png(20, 20))
    overlay = work / "signs.yaml"
    for name, put in pictures().items():
        picture = signs / "images" / "3.png"
        yield Case(
            "picture",
            f"new-dataset: {name}",
            ("new-dataset", str(signs), "--catalog", str(overlay), "--dry-run"),
            [(picture, put)],
        )
        yield Case("picture", f"select: {name}", ("select", str(picture), "what is it?", *CELL), [(picture, put)])
    for name, put in checkpoints().items():
        for suffix in (".ckpt", ".pt"):
            path = work / f"given{suffix}"
            yield Case("checkpoint", f"lineage {suffix}: {name}", ("lineage", str(path)), [(path, put)])
        lever = work / "lever" / "okvqa" / "model_cpk" / "v2"
        lever.mkdir(parents=True, exist_ok=True)
        path = lever / (
            "Qwen2_5_VL_3B_Instruct_RandSampler_infoscore_left_beam5_shot2_cand64_sample24_epoch=12_"
            "train=21.93316_val=21.99296.ckpt"
        )
        yield Case("checkpoint", f"adopt: {name}", ("adopt", str(work / "lever"), "--dry-run"), [(path, put)])
        yield Case(
            "checkpoint",
            f"compare: {name}",
            ("compare", "demo|RandSampler/tiny_vl", str(work / "given.pt")),
            [(work / "given.pt", put)],
        )
    folder = work / "selector"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for name, put in SAFETENSORS.items():
        yield Case(
            "checkpoint",
            f"safetensors: {name}",
            ("lineage", str(folder / "model.safetensors")),
            [(folder / "model.safetensors", put)],
        )
    for name, put in CATALOGS.items():
        path = work / "overlay.yaml"
        for command in (("status",), ("train", *CELL, "--dry-run")):
            environ: dict[str, str | bytes] = {"ICD_CATALOG": str(path), "A": "x" * 50_000}
            yield Case("catalog", f"{name}", command, [(path, put)], environ)
    for name, put in ENVS.items():
        yield Case(".env", name, ("settings", *CELL), [(home / ".env", put)])
    for name, environ in ENVIRONS.items():
        for command in (("status",), ("train", *CELL, "--dry-run"), ("doctor", *CELL)):
            yield Case("settings", name, command, [], environ)
    for name, put in ANSWERS.items():
        for suffix in (".json", ".jsonl", ".csv", ".parquet"):
            path = work / f"answers{suffix}"
            yield Case(
                "data file",
                f"compare {suffix}: {name}",
                ("compare", "demo|RandSampler/tiny_vl", str(path)),
                [(path, put)],
            )
    for name, put in (ANSWERS | {"surrogate": content('{"question": "\\ud800"}')}).items():
        for suffix in (".json", ".csv", ".parquet", ".jsonl"):
            table = work / "tables" / name.replace(" ", "-")
            (table / "images").mkdir(parents=True, exist_ok=True)
            yield Case(
                "data file",
                f"new-dataset {suffix}: {name}",
                ("new-dataset", str(table), "--catalog", str(overlay), "--dry-run"),
                [(table / f"train{suffix}", put)],
            )
