"""Which functions of ours open a file, or parse what was read of one: by their source alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import icd_assets

ROOT = Path(icd_assets.__file__).parent
# Readers of other packages that take a path or a text, by the last part of their names…
_NAMES = frozenset(
    (
        *(
            "FileIO",
            "ParquetFile",
            "TarFile",
            "ZipFile",
            "DictReader",
            "copyfile",
            "copyfileobj",
        ),
        *(
            "copytree",
            "fdopen",
            "from_file",
            "from_pretrained",
            "fromfile",
            "genfromtxt",
            "load_file",
        ),
        *(
            "load_dataset",
            "load_from_disk",
            "loadtxt",
            "memmap",
            "memory_map",
            "model_validate_json",
        ),
        *(
            "open_file",
            "open_stream",
            "parse_stream",
            "read_bytes",
            "read_csv",
            "read_json_lines",
        ),
        *(
            "read_magic",
            "read_metadata",
            "read_parquet",
            "read_schema",
            "read_text",
            "safe_load",
        ),
        *("safe_open",),
    )
)
# …and those whose last part says too little.
_WHOLE = frozenset(
    (
        *(
            "csv.reader",
            "json.load",
            "json.loads",
            "np.load",
            "os.open",
            "pickle.load",
            "pickle.loads",
        ),
        *(
            "sqlite3.connect",
            "tomllib.load",
            "torch.load",
            "yaml.load",
            "yaml.parse",
            "Image.open",
        ),
        *(
            "io.open",
            "gzip.open",
            "tarfile.open",
            "shutil.copy",
            "shutil.copy2",
            "shutil.move",
        ),
    )
)
# Readers of ours that hand out what a file holds, of any shape.
_OURS = frozenset(
    (
        *(
            "open_plain",
            "read_small",
            "read_small_text",
            "read_small_json",
            "read_yaml",
            "parse_yaml",
        ),
        *(
            "parse_json",
            "require_plain",
            "read_content",
            "read_json",
            "opened_parquet",
        ),
        *(
            "read_torch_file",
            "read_array_file",
            "unpickle",
            "read_manifest",
            "parse_manifest",
        ),
    )
)
_MODE = re.compile(r"[rwxab+t]{1,3}")


def opening() -> dict[str, int]:
    """``module:function`` → its first line, of each function that calls one of them."""
    found: dict[str, int] = {}
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        for name, line in _calls(ast.parse(path.read_text(encoding="utf-8")), []):
            found.setdefault(f"{module}:{name}", line)
    return found


def _calls(node: ast.AST, inside: list[ast.AST]) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and _opens(child):
            functions = [one for one in inside if not isinstance(one, ast.ClassDef)]
            names = ".".join(str(getattr(one, "name", "")) for one in inside)
            yield names or "<module>", _line(functions[-1]) if functions else 0
        deeper = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        yield from _calls(child, [*inside, child] if deeper else inside)


def _line(function: ast.AST) -> int:
    """As a code object has it: a decorator's comes first."""
    decorators = getattr(function, "decorator_list", [])
    return int(min(one.lineno for one in [*decorators, function]))


def _opens(call: ast.Call) -> bool:
    whole = ast.unparse(call.func)
    name = whole.rpartition(".")[2]
    if name in _NAMES or whole in _WHOLE or name in _OURS or whole == "open":
        return whole != "open" or not call.args or not isinstance(call.args[0], ast.Call)
    if name != "open" or not isinstance(call.func, ast.Attribute):
        return False
    # Path.open, and no method of ours: it is given nothing, or a mode.
    mode = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    named = {word.arg for word in call.keywords} <= {"mode", "encoding", "errors", "newline"}
    return named if not call.args else isinstance(mode, str) and _MODE.fullmatch(mode) is not None
