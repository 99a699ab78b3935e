"""A person in the UI, in a real browser: looks at the graph, materializes one cell, and sees what came of it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from icd_assets.defs.runs.run_owner import read_owner
from icd_assets.runtime.process_record import ProcessRecord, absent
from icd_assets_tests.worlds.chromium import chromium, needs_chromium
from icd_assets_tests.worlds.served_ui import LOG, served_ui
from icd_assets_tests.worlds.workplace import CELL, KEY, Workplace, new_workplace

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
expect = playwright.expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

WHOLE_FILE = 600  # seconds, however slow the machine is; one page's wait may come on top
ONE_PAGE = 30_000  # milliseconds

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    needs_chromium,
]


@pytest.fixture(scope="module")
def seconds_left() -> Callable[[], float]:
    """Patience: every long wait takes its share of the same few minutes."""
    end = time.monotonic() + WHOLE_FILE
    return lambda: max(1.0, end - time.monotonic())


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory, seconds_left: Callable[[], float]) -> tuple[Workplace, str]:
    """A workplace in which the command line made one cell's everything up to the embeddings, and the pools of
    three others; and the id of the first run."""
    place = new_workplace(tmp_path_factory.mktemp("browser") / "work")
    for sampler in ("text_sim_sampler", "img_sim_sampler", "mix_sampler"):
        cell = [sampler if word == "rand_sampler" else word for word in CELL]
        ended = place.run("train", *cell, "--to", "candidate_pools", timeout=seconds_left())
        assert ended.returncode == 0, ended.stderr + ended.stdout
    ended = place.run("train", *CELL, "--recipe", "beams", "--to", "embeddings", timeout=seconds_left())
    assert ended.returncode == 0, ended.stderr + ended.stdout
    found = re.search(r"^run (\S+) ended well$", ended.stdout, re.MULTILINE)
    assert found is not None, ended.stdout
    return place, found[1]


@pytest.fixture(scope="module")
def address(upstream: tuple[Workplace, str], seconds_left: Callable[[], float]) -> Iterator[str]:
    """Where ``icd-assets ui`` serves that workplace, with Dagster's daemon beside it, as ``make ui`` does."""
    place = upstream[0]
    with served_ui(place.folder, place.environment, seconds=min(90, seconds_left())) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A window of someone who was never here before."""
    window = browser.new_context(base_url=address, viewport={"width": 1600, "height": 1200})
    opened = window.new_page()
    opened.set_default_timeout(ONE_PAGE)
    expect.set_options(timeout=ONE_PAGE)
    yield opened
    window.close()


@pytest.fixture
def picture(page: Page, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Saves what is on the screen, under a name, to ``$ICD_SCREENSHOTS``; and how the test left it."""
    folder = Path(os.environ.get("ICD_SCREENSHOTS") or tmp_path)

    def save(name: str) -> None:
        page.screenshot(path=folder / f"{name}.png")

    yield save
    save(f"end_of_{request.node.name}")


def test_a_newcomer_sees_the_whole_graph_and_is_asked_for_nothing(
    page: Page, picture: Callable[[str], None]
) -> None:
    """All ten assets and all their edges are drawn, and nobody wants an e-mail address."""
    assets, edges = _graph()
    page.goto("/")
    page.get_by_role("link", name=re.compile("^lineage")).click()
    expect(page.locator("foreignObject")).to_have_count(len(assets))
    expect(page.locator("svg path[marker-end]")).to_have_count(edges)
    for name in assets:
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("input[type=email]")).to_have_count(0)
    expect(page.get_by_text(re.compile("community|newsletter|e-?mail", re.IGNORECASE))).to_have_count(0)
    picture("lineage")


def test_the_partitions_are_the_cells_that_commands_worked_on_and_their_runs_are_in_the_timeline(
    page: Page, picture: Callable[[str], None]
) -> None:
    """Four cells of seventy-two; runs of the command line are in the timeline, and no tag of ours in the list."""
    page.goto("/assets/candidate_pools?view=partitions")
    expect(page.get_by_text("4 Partitions Selected")).to_be_visible()
    picture("partitions")
    page.goto("/overview/activity/timeline")
    expect(page.get_by_text("icd_assets", exact=True).first).to_be_visible()
    expect(page.get_by_text("Jobless asset materializations").first).to_be_visible()
    picture("timeline")
    page.goto("/runs")
    expect(page.get_by_text("Success").first).to_be_visible()
    expect(page.get_by_text(re.compile("icd[_/]"))).to_have_count(0)
    picture("runs")


def test_a_partition_with_a_typo_is_one_sentence(
    page: Page, picture: Callable[[str], None], seconds_left: Callable[[], float]
) -> None:
    """Added in the UI, and chosen at once."""
    page.goto("/assets/candidate_pools")
    page.get_by_role("button", name="Materialize…").click()
    page.get_by_text("Add a partition", exact=True).click()
    page.get_by_placeholder("name", exact=True).fill("demo|RandSampler/tiny_v1")
    picture("add_partition")
    page.get_by_placeholder("name", exact=True).press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Launch 1 run", exact=True).click()
    page.get_by_text("View", exact=True).click()
    page.wait_for_url("**/runs/*")
    page.get_by_text(re.compile("^Failure$")).first.wait_for(timeout=1000 * seconds_left())
    said = page.get_by_text(re.compile("names no cell: unknown model 'tiny_v1': did you mean tiny_vl")).first
    expect(said).to_be_visible()
    picture("typo")


def test_one_cell_is_materialized_in_the_ui_and_the_command_line_goes_on_from_it(
    page: Page,
    picture: Callable[[str], None],
    upstream: tuple[Workplace, str],
    seconds_left: Callable[[], float],
) -> None:
    """rl_data in the browser: the run, its numbers, its check; then RCE in the terminal, its curve, and back from
    the checkpoint to the run that made the RL data it learned from."""
    place, earlier_run = upstream
    rl_data_run = _launch(page, "rl_data", KEY, picture)
    _see_the_run_succeed(page, picture, place, seconds_left)

    _open_partition(page, "rl_data")
    picture("rl_data_partition")
    _read_about_rl_data(page, place, earlier_run)
    _see_the_check_passed(page, picture)

    ended = place.run("train", *CELL, "--to", "rce_checkpoints", timeout=seconds_left(), RCE_EPOCHS="3")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert re.search(r"^rl_data +present", ended.stdout, re.MULTILINE), ended.stdout
    _open_partition(page, "rce_checkpoints")
    picture("rce_partition")
    _see_the_curve(page, picture)
    _value(page, "rl_data/run").get_by_role("link").click()
    page.wait_for_url(f"**/runs/{rl_data_run}")
    picture("from_checkpoint_to_rl_data_run")


def test_a_terminated_run_and_a_killed_worker_leave_no_step_and_no_slot_and_the_button_works_again(
    page: Page,
    picture: Callable[[str], None],
    upstream: tuple[Workplace, str],
    seconds_left: Callable[[], float],
) -> None:
    """Beneath the daemon, not in a terminal: the UI's Terminate, then a kill as for lack of memory."""
    place, cell = upstream[0], "demo|MixSampler/tiny_vl"
    with dg.DagsterInstance.from_config(str(place.folder)) as instance:

        def at_work() -> tuple[str, ProcessRecord, list[int]]:
            """A new run of beam_data: its id, its worker, and its steps' processes."""
            run_id = _launch(page, "beam_data", cell, picture)

            def worker() -> ProcessRecord | None:
                run = instance.get_run_by_id(run_id)
                return None if run is None else read_owner(run.tags, run_id)

            def steps() -> list[int]:
                notes = []
                for path in place.results.glob(".icd_assets/locks/*.json"):
                    with suppress(OSError, ValueError):  # it is being written, or has just gone
                        notes.append(json.loads(path.read_text()))
                return [note["pid"] for note in notes if note["run_id"] == run_id]

            _wait_for(lambda: worker() is not None and steps() != [], seconds_left)
            found, processes = worker(), steps()
            assert found is not None and found.gone() is False
            assert found.pid not in processes  # the step is a process of its own
            return run_id, found, processes

        def nothing_is_left(run_id: str, processes: list[int], status: dg.DagsterRunStatus) -> None:
            _wait_for(lambda: all(absent(pid) for pid in processes), seconds_left)
            _wait_for(lambda: instance.get_run_by_id(run_id).status is status, seconds_left)
            slots = instance.event_log_storage
            _wait_for(lambda: slots.get_concurrency_info("gpu").active_slot_count == 0, seconds_left)
            picture(f"{status.value.lower()}_run")

        run_id, _, processes = at_work()
        page.get_by_role("button", name="Terminate").click()
        page.get_by_role("dialog").get_by_role("button", name="Terminate 1 run", exact=True).click()
        nothing_is_left(run_id, processes, dg.DagsterRunStatus.CANCELED)

        run_id, worker, processes = at_work()
        os.kill(worker.pid, signal.SIGKILL)
        nothing_is_left(run_id, processes, dg.DagsterRunStatus.FAILURE)
    # An orphan would have ended its work by now.
    assert list(place.results.glob("demo/generated_data/*MixSampler*.manifest.json")) == []
    _launch(page, "beam_data", cell, picture)
    _see_the_run_succeed(page, picture, place, seconds_left)


def test_a_backfill_of_two_cells_takes_turns_at_the_gpu(
    page: Page,
    picture: Callable[[str], None],
    upstream: tuple[Workplace, str],
    seconds_left: Callable[[], float],
) -> None:
    """Two cells' beam_data at once: one run works, the other stands in the queue, and both end well."""
    cells = ["demo|TextSimSampler/tiny_vl", "demo|ImgSimSampler/tiny_vl"]
    _materialize(page, "beam_data", cells, picture)
    page.get_by_role("dialog").get_by_role("button", name="Launch backfill", exact=True).click()

    def statuses() -> list[str]:
        with dg.DagsterInstance.from_config(str(upstream[0].folder)) as instance:
            runs = [instance.get_runs(dg.RunsFilter(tags={"dagster/partition": cell})) for cell in cells]
        return sorted(run.status.value for found in runs for run in found if "dagster/backfill" in run.tags)

    _wait_for(lambda: statuses() == ["QUEUED", "STARTED"], seconds_left)
    page.goto("/runs")
    page.get_by_role("tab", name=re.compile("^Queued")).click()
    expect(page.get_by_text(re.compile(r"demo\|(Text|Img)SimSampler/tiny_vl")).first).to_be_visible()
    picture("queued_for_the_gpu")
    _wait_for(lambda: statuses() == ["SUCCESS", "SUCCESS"], seconds_left)


def _wait_for(reached: Callable[[], bool], seconds_left: Callable[[], float]) -> None:
    end = time.monotonic() + seconds_left()
    while not reached():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.3)


def _materialize(page: Page, asset: str, keys: list[str], picture: Callable[[str], None]) -> None:
    """Press Materialize on the asset's page and choose cells."""
    page.goto(f"/assets/{asset}")
    page.get_by_role("button", name="Materialize…").click()
    dialog = page.get_by_role("dialog")
    choose, sure = (
        dialog.get_by_text("Select a partition or create one", exact=True),
        page.get_by_text("Are you sure?"),
    )
    expect(choose.or_(sure)).to_be_visible()
    if sure.is_visible():  # where a step of another recipe, which it may read too, was never made
        page.get_by_role("button", name="Confirm", exact=True).click()
    choose.click()
    for key in keys:
        page.get_by_role("menuitem").filter(has_text=key).first.click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("menuitem")).to_have_count(0)
    count = len(keys)
    expect(dialog.get_by_text(f"{count} partition{'s' * (count > 1)}", exact=True)).to_be_visible()
    picture(f"{asset}_dialog")


def _launch(page: Page, asset: str, key: str, picture: Callable[[str], None]) -> str:
    """Materialize one cell's asset, and go to its run's page; the run's id."""
    _materialize(page, asset, [key], picture)
    page.get_by_role("dialog").get_by_role("button", name="Launch 1 run", exact=True).click()
    page.get_by_text("View", exact=True).click()
    page.wait_for_url("**/runs/*")
    return page.url.rsplit("/", 1)[-1]


def _see_the_run_succeed(
    page: Page, picture: Callable[[str], None], place: Workplace, seconds_left: Callable[[], float]
) -> None:
    """Watch the run's page until the run has ended."""
    ended = page.get_by_text(re.compile("^(Success|Failure|Canceled)$")).first
    ended.wait_for(timeout=1000 * seconds_left())
    picture("run")
    log = (place.folder / LOG).read_text(encoding="utf-8", errors="replace")
    assert ended.inner_text() == "Success", log[-5000:]


def _open_partition(page: Page, asset: str) -> None:
    """Asset page, tab Partitions, the cell."""
    page.goto(f"/assets/{asset}")
    page.get_by_role("tab", name="Partitions").click()
    page.get_by_title(KEY, exact=True).click()
    expect(page.get_by_text("Materialized", exact=True)).to_be_visible()


def _read_about_rl_data(page: Page, place: Workplace, earlier_run: str) -> None:
    """How much there is, whether it can teach, where it lies, and the run that made the selector it used."""
    assert _value(page, "dagster/row_count").inner_text() == "24"
    assert 0 < float(_value(page, "share_with_reward_levels").inner_text()) <= 1
    path = Path(_value(page, "path").inner_text())
    assert path.is_file()
    assert path.is_relative_to(place.results), "the UI's runs write elsewhere than the command line's"
    link = _value(page, "v2_checkpoint/run").get_by_role("link")
    assert link.get_attribute("href") == f"/runs/{earlier_run}"


def _value(page: Page, name: str) -> Locator:
    """What stands beside a name in the metadata table."""
    row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))
    return row.get_by_role("cell").nth(1)


def _see_the_check_passed(page: Page, picture: Callable[[str], None]) -> None:
    """The check's latest result is this cell's, and it is good."""
    page.get_by_role("tab", name="Checks").click()
    page.get_by_title("rows_rewards_signal", exact=True).click()
    expect(page.get_by_text("Passed", exact=True).first).to_be_visible()
    expect(page.get_by_text(KEY, exact=True).first).to_be_visible()
    picture("check")


def _see_the_curve(page: Page, picture: Callable[[str], None]) -> None:
    """The picture stands beside its name, without a click."""
    curve = _value(page, "curve").locator('img[src^="data:image/"]')
    expect(curve).to_be_visible()
    width = curve.evaluate("picture => picture.decode().then(() => picture.naturalWidth)")
    picture("rce_curve")
    assert width > 200


def _graph() -> tuple[list[str], int]:
    """The names of the assets, and how many edges are between them."""
    from icd_assets.definitions import defs

    nodes = defs.resolve_asset_graph().asset_nodes
    return [node.key.to_user_string() for node in nodes], sum(len(node.parent_keys) for node in nodes)
