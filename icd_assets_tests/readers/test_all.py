"""The table of readers is whole: every function of ours that opens or parses a file is run by one of them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from icd_assets_tests.readers import every
from icd_assets_tests.readers.opens import ROOT, opening
from icd_assets_tests.readers.test_places import alone

# Functions that open what nobody but us, the system or the user at this moment has made.
_ELSEWHERE = {
    "icd_assets.cli.card:card": "writes a new file",
    "icd_assets.cli.ending:_open_streams": "the terminal's own",
    "icd_assets.experiment.checks.places:file_system": "the system's list of mounts",
    "icd_assets.experiment.checks.places:place": "writes a new file",
    "icd_assets.experiment.settings:_set": "a copy of what is in the memory",
    "icd_assets.experiment.spec:spec_of": "a copy of what is in the memory",
    "icd_assets.remote.pull:_staged": "has just been fetched, and its digest checked",
    "icd_assets.report.page:_resource": "part of the package",
    "icd_assets.runtime.disk_errors:_mount_points": "the system's list of mounts",
    "icd_assets.runtime.left_by_ui:left_at_work": "the system's list of processes",
    "icd_assets.runtime.process_record:_state": "the system's list of processes",
    "icd_assets.runtime.provenance:_cpu": "the system's list of processors",
    "icd_assets.selector.encoder:ClipEncoder.digest": "a loaded tokenizer's own words",
    "icd_assets.share.folder:_write_selector": "files of an artifact, whose digests were checked",
    "icd_assets.share.folder:write_folder": "files of an artifact, whose digests were checked",
    "icd_assets.store.store:Store._recorded": "what it is about to write",
    "icd_assets.store.store:_changed": "a copy of what is in the memory",
    "icd_assets.upkeep.doctor.machine:_free_memory": "the system's numbers",
    "icd_assets.upkeep.prune:_note": "adds a line, and reads none",
    "icd_assets.vlm.endpoint_client:EndpointClient._page": "a server's answer: test_endpoint_engine",
    "icd_assets.vlm.endpoint_client:EndpointClient._read": "a server's answer: test_endpoint",
    "icd_assets.vlm.model:pretrained": "a folder that require_whole has looked through",
    "icd_assets.vlm.worker:_received": "from its parent",
}


@contextmanager
def _recorded() -> Iterator[set[CodeType]]:
    """The functions of ours that are called meanwhile, in any thread."""
    called: set[CodeType] = set()
    ours = f"{ROOT}/"

    def record(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(ours):
            called.add(frame.f_code)

    before = sys.getprofile()
    threading.setprofile(record)
    sys.setprofile(record)
    try:
        yield called
    finally:
        sys.setprofile(before)
        threading.setprofile(None)


def test_every_function_that_opens_a_file_is_run_by_a_reader_of_the_table(tmp_path: Path) -> None:
    with _recorded() as called:
        for number, reader in enumerate(every().values()):
            folder = tmp_path / str(number)
            folder.mkdir()
            with alone(folder):
                reader.put(folder / reader.place)
                if reader.taken:
                    reader.read(folder / reader.place)
                else:
                    with pytest.raises(reader.refusals):
                        reader.read(folder / reader.place)
    lines = {(code.co_filename, code.co_firstlineno) for code in called}
    found = opening()
    run = {name for name, line in found.items() if (_file(name), line) in lines}
    lacking = " ".join(sorted(found.keys() - run - _ELSEWHERE.keys()))
    assert lacking == "", "give each a reader in the table, or a reason in _ELSEWHERE"
    assert sorted(_ELSEWHERE.keys() - found.keys()) == [], "these open nothing any more"
    assert len(run) > 80


def _file(name: str) -> str:
    module = ROOT.parent.joinpath(*name.partition(":")[0].split("."))
    return str(module.with_suffix(".py") if module.with_suffix(".py").is_file() else module / "__init__.py")
