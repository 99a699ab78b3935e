"""Readers of foreign files under random bytes: ``make fuzz``, or ``python -m icd_assets_tests.fuzz [TARGET…]``.

Each module in ``targets`` is one reader. It has::

    SUFFIX = ".json"                     # of the file that is read
    def seeds() -> Iterable[bytes]: ...  # sound files, small ones; what is tried grows out of them
    def read(path: Path) -> object: ...  # reads the file; UserError is an answer, anything else a finding
    REFUSALS = (OSError, ValueError)     # of a reader whose callers put these into words, in UserError's place

A finding is any other exception, more than a gibibyte of memory, or more than ten seconds for one file.
"""
