"""Prints which heavy libraries are loaded once the modules NAME … are imported, as a line of JSON."""

import importlib
import json
import sys

HEAVY = ("PIL", "dagster", "matplotlib", "numpy", "pyarrow", "sqlalchemy", "torch", "transformers")


def loaded() -> str:
    return json.dumps([name for name in HEAVY if name in sys.modules])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(name)
    print(loaded())
