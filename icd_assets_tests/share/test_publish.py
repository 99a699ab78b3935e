"""Publishing to a hub: what goes up comes down the same, and whatever the hub answers is one sentence."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard, constants, hf_hub_download

from icd_assets import Selector
from icd_assets.experiment.experiment import Experiment
from icd_assets.vlm.weights import locate
from icd_assets_tests.share.test_folder import CELL, PARTS, choices
from icd_assets_tests.worlds.commands import Ended, Run
from icd_assets_tests.worlds.evaluated import NAME, QUESTION, make
from icd_assets_tests.worlds.fake_hub import FakeHub, Repo
from icd_assets_tests.worlds.manifests import World, new_world
from icd_assets_tests.worlds.workplace import Workplace

REPO = "me/mine"
# Of huggingface_hub's own upload; warnings are errors in tests.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def publish(run: Run, *more: str, repo: str = REPO) -> Ended:
    return run("publish", CELL, repo, "--license", "mit", *more)


def test_what_goes_up_comes_down_and_chooses_the_same(cell: Experiment, run: Run, hub: FakeHub) -> None:
    ended = publish(run)
    assert ended.code == 0, ended.error
    assert f"{hub.url}/{REPO} published: commit" in ended.output
    assert set(hub.repos[f"models/{REPO}"].files) == {".gitattributes", *PARTS}
    expected = choices(Selector.load(cell.paths.selector("sequence_selector")))
    assert choices(Selector.load(REPO)) == expected


def test_a_downloaded_file_names_its_labels_anywhere(
    cell: Experiment, run: Run, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(run)
    folder = locate(REPO)
    monkeypatch.setenv("RESULT_DIR", str(tmp_path / "empty"))
    for name in ("model.safetensors", "config.json"):
        found = json.loads(run("lineage", str(folder / name), "--json").output)
        made = {node["name"]: node for node in found["artifacts"].values()}
        assert {"single_labels", "step_labels", "vlm", "dataset"} <= made.keys()
        manifest = cell.manifest("step_labels")
        assert manifest is not None and made["step_labels"]["data_version"] == manifest.data_version
        assert made["step_labels"]["state"] == "elsewhere"


def test_the_same_again_is_no_new_commit(cell: Experiment, run: Run, hub: FakeHub) -> None:
    publish(run)
    repo = hub.repos[f"models/{REPO}"]
    assert len(repo.commits) == 2  # the hub's own first, and all of ours in one
    again = publish(run)
    assert again.code == 0 and "is up to date" in again.output and len(repo.commits) == 2
    for asset in ("sequence_selector", "evaluation"):
        make(cell, asset, 6)
    assert "published" in publish(run).output and len(repo.commits) == 3
    assert choices(Selector.load(cell.paths.selector("sequence_selector"))) == choices(
        Selector.load(str(_written(repo, Path(constants.HF_HUB_CACHE).parent / "now")))
    )


def _written(repo: Repo, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, content in repo.files.items():
        (folder / name).write_bytes(content)
    return folder


def test_a_dry_run_names_every_file_and_asks_nobody(cell: Experiment, run: Run, hub: FakeHub) -> None:
    found = json.loads(publish(run, "--dry-run", "--json", "--dataset", "me/d", "--data-license", "mit").output)
    assert hub.asked == []
    assert set(found) == {"schema", "cell", "selector", "dry_run", "repository", "dataset"} and found["dry_run"]
    assert {one["path"] for one in found["repository"]["files"]} == PARTS
    assert {one["path"] for one in found["dataset"]["files"]} == {
        "README.md",
        "labels.parquet",
        "predictions.parquet",
    }
    sizes = {one["path"]: one["size"] for one in found["repository"]["files"]}
    own = cell.paths.selector("sequence_selector") / "model.safetensors"
    assert sizes["model.safetensors"] == own.stat().st_size
    text = publish(run, "--dry-run").output
    assert f"{REPO} would get:" in text and f"{own.stat().st_size:,}  model.safetensors" in text


def test_no_text_of_the_dataset_goes_up_unless_asked_for(cell: Experiment, run: Run, hub: FakeHub) -> None:
    publish(run)
    assert list(hub.repos) == [f"models/{REPO}"]
    assert not any(QUESTION.encode() in one for one in (*hub.repos[f"models/{REPO}"].files.values(),))
    refused = publish(run, "--dataset", "me/data")
    assert refused.code == 2 and refused.error.startswith("--data-license is missing: name the licence")
    assert list(hub.repos) == [f"models/{REPO}"]


def test_labels_and_predictions_as_a_dataset(cell: Experiment, run: Run, hub: FakeHub, world: World) -> None:
    ended = publish(run, "--dataset", "me/data", "--data-license", "cc-by-4.0")
    assert ended.code == 0, ended.error
    files = hub.repos["datasets/me/data"].files
    card = DatasetCard(files["README.md"].decode())
    assert card.data.license == "cc-by-4.0"
    configs = {one["config_name"]: one["data_files"] for one in card.data.to_dict()["configs"]}
    assert configs == {
        "labels": [{"split": "train", "path": "labels.parquet"}],
        "predictions": [{"split": "validation", "path": "predictions.parquet"}],
    }
    path = hf_hub_download("me/data", "predictions.parquet", repo_type="dataset")
    rows = pq.read_table(path).to_pylist()
    assert len(rows) == 80 and rows[-1]["strategy"] == NAME and rows[-1]["question"] == QUESTION
    assert {row["image"] for row in rows} == {f"{at}.png" for at in range(20)}  # without the folders
    assert rows[-1]["demonstrations"][0]["image"].endswith(".png")
    assert not any(str(world.folder).encode() in content for content in files.values())
    labels = pq.read_table(io.BytesIO(files["labels.parquet"])).to_pylist()
    assert labels[0] == {
        "kind": "likelihood",
        "row": 3,
        "picked": [],
        "candidate": 10,
        "value": 0.25,
        "base": 0.1,
    }
    assert len(labels) == 2 * 3 + 2 * 2 and labels[-1]["picked"] == [22]
    assert all(f"`{name}`" in card.text for name in (*rows[0], *labels[0]))
    assert "me/data" in hub.repos[f"models/{REPO}"].files["README.md"].decode()


def test_nothing_goes_up_where_something_cannot(cell: Experiment, run: Run, hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key", encoding="utf-8")
    words = ("--dataset", "me/data", "--data-license", "mit", "--sign", str(tmp_path / "key.pem"))
    assert "is no private key that can sign" in publish(run, *words).error
    predictions = cell.paths.evaluation / "predictions.parquet"
    predictions.write_bytes(predictions.read_bytes()[:100])
    assert "predictions.parquet" in publish(run, *words[:4]).error
    assert hub.asked == []


def test_an_evaluation_of_an_older_version_has_no_table(cell: Experiment, run: Run, hub: FakeHub) -> None:
    path, predictions = cell.manifest_path("evaluation"), cell.paths.evaluation / "predictions.parquet"
    path.write_text(path.read_text("utf-8").replace(predictions.name, "predictions.jsonl"), encoding="utf-8")
    predictions.rename(predictions.with_suffix(".jsonl"))
    refused = publish(run, "--dataset", "me/data", "--data-license", "mit")
    assert refused.code == 2 and "was evaluated before there was predictions.parquet" in refused.error
    assert publish(run).code == 0


BAD_IDS = [
    "mine",
    "me/",
    "/mine",
    "me/mine/more",
    "../mine",
    "me/..",
    "me/a--b",
    "me/mine.git",
    "me/mi ne",
    "me/mine\n",
    "mé/mine",
    "me/$(id)",
    "https://hub/me/mine",
    "me/" + "n" * 97,
]


@pytest.mark.parametrize("repo", BAD_IDS)
def test_a_bad_id_is_refused_before_anything_is_asked(cell: Experiment, run: Run, hub: FakeHub, repo: str) -> None:
    ended = publish(run, repo=repo)
    assert ended.code == 2 and "is no id of a repository on the hub; write OWNER/NAME" in ended.error
    assert "is no id" in publish(run, "--dataset", repo, "--data-license", "mit").error
    assert hub.asked == []


@pytest.mark.parametrize(
    ("where", "status", "said"),
    [
        ("/create", 401, "does not take the token; run hf auth login"),
        ("/create", 403, "the token may not write there"),
        ("/create", 500, "the hub answered 500"),
        ("/create", 0, "the hub was lost"),
        ("/commit/", 403, "the token may not write there"),
        ("/commit/", 500, "the hub answered 500"),
        ("/commit/", 0, "the hub was lost"),
        ("/validate-yaml", 400, "was not published: the hub"),
        ("/batch", 403, "the token may not write there"),
    ],
)
def test_a_hub_that_refuses_is_one_sentence_and_costs_nothing(
    cell: Experiment, run: Run, hub: FakeHub, world: World, where: str, status: int, said: str
) -> None:
    before = {path: path.read_bytes() for path in cell.paths.root.rglob("*") if path.is_file()}
    hub.refuse = {where: status}
    ended = publish(run)
    assert ended.code == 2 and ended.error.startswith(f"{REPO} was not published: ")
    assert said in ended.error and "\n" not in ended.error and ended.output == ""
    assert all(path.read_bytes() == content for path, content in before.items())
    assert all(len(repo.commits) == 1 for repo in hub.repos.values())  # all or nothing
    hub.refuse = {}
    assert publish(run).code == 0 and set(hub.repos[f"models/{REPO}"].files) > PARTS


@pytest.mark.parametrize("code", ["plain", "quoted", "base64", "inside base64", "hexadecimal"])
def test_a_hub_that_echoes_the_token_does_not_show_it(
    cell: Experiment, run: Run, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    token = "hf_of/a+test=Q7x"
    monkeypatch.setenv("HF_TOKEN", token)
    coded = {
        "plain": token,
        "quoted": quote(token, safe=""),
        "base64": b64encode(token.encode()).decode(),
        "inside base64": b64encode(f"Bearer {token}".encode()).decode(),
        "hexadecimal": token.encode().hex(),
    }[code]
    hub.says, hub.refuse = f"your token {coded} is not known here", {"/create": 500}
    ended = publish(run)
    assert ended.code == 2 and "the hub answered 500" in ended.error
    assert "is not known here" in ended.error and "***" in ended.error, "what it says is shown, but for the token"
    assert coded not in ended.error and token not in ended.error


def test_a_hub_that_is_lost_in_the_middle_of_the_weights(
    cell: Experiment, run: Run, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # it tries six times
    for status in (0, 500):
        hub.refuse = {"/lfs/": status}
        ended = publish(run)
        assert ended.code == 2 and "was not published: the hub" in ended.error and "\n" not in ended.error
    assert len(hub.repos[f"models/{REPO}"].commits) == 1


def test_no_token_no_hub_no_licence(
    cell: Experiment, run: Run, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run("publish", CELL, REPO).error.startswith("--license is missing: name the licence")
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    assert "does not take the token" in publish(run).error
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "there is no token for the hub; run hf auth login, or set HF_TOKEN" in publish(run).error
    assert publish(run, "--dry-run").code == 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in publish(run).error
    assert hub.repos == {}


def test_private_means_private(cell: Experiment, run: Run, hub: FakeHub) -> None:
    assert publish(run, "--private").code == 0 and hub.repos[f"models/{REPO}"].private
    assert publish(run, repo="me/open").code == 0 and not hub.repos["models/me/open"].private
    refused = publish(run, "--private", repo="me/open")
    assert refused.code == 2 and "is there already and public; make it private" in refused.error


def test_files_of_others_stay_and_an_old_signature_goes(
    cell: Experiment, run: Run, hub: FakeHub, key: Path
) -> None:
    publish(run, "--sign", str(key))
    repo = hub.repos[f"models/{REPO}"]
    assert "model.sig" in repo.files and "model_signing verify key" in repo.files["README.md"].decode()
    repo.commits.append(repo.files | {"notes.md": b"mine"})
    publish(run)
    assert "model.sig" not in repo.files and repo.files["notes.md"] == b"mine"


def test_from_the_command_line_of_a_real_cell(
    beams: tuple[Workplace, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RL data too: up as a table, and named by the downloaded file in a folder that knows of nothing."""
    place, exported = beams
    with FakeHub() as hub:
        variables = hub.environment | {"HF_HOME": str(tmp_path / "hf")}
        words = ("demo", "rand_sampler", "tiny_vl", REPO, "--license", "mit", "--grpo-epochs", "3")
        ended = place.run("publish", *words, "--dataset", "me/data", "--data-license", "mit", **variables)
        assert ended.returncode == 0, ended.stderr
        files = hub.repos["datasets/me/data"].files
        rows = pq.read_table(io.BytesIO(files["rl_data.parquet"])).to_pylist()
        written = json.loads(next(place.results.glob("demo/generated_data/rl_data_*.json")).read_text("utf-8"))
        (first, *_), count = written.items(), sum(len(q.get("pointer_candidates", ())) for q in written.values())
        assert len(rows) == count
        assert (rows[0]["row"], rows[0]["demonstrations"]) == (
            int(first[0]),
            first[1]["pointer_candidates"][0]["pointer_global"],
        )
        downloaded = _written(hub.repos[f"models/{REPO}"], tmp_path / "down")
    assert (downloaded / "model.safetensors").read_bytes() == (exported / "model.safetensors").read_bytes()
    elsewhere = new_world(tmp_path / "elsewhere")
    at = {"RESULT_DIR": str(elsewhere.root), "ICD_CATALOG": str(elsewhere.folder / "catalog.yaml")}
    found = place.run("lineage", str(downloaded / "model.safetensors"), "--json", **at)
    nodes = {node["name"]: node for node in json.loads(found.stdout)["artifacts"].values()}
    manifest = json.loads(
        next(place.results.glob("demo/generated_data/rl_data_*.manifest.json")).read_text("utf-8")
    )
    assert nodes["rl_data"]["data_version"] == manifest["data_version"]
    assert nodes["rl_data"]["config"] == manifest["want"]["config"]
    assert {"v2_checkpoint", "beam_data", "grpo_checkpoints"} <= nodes.keys()
