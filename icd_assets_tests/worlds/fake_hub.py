"""A hub on loopback: what huggingface_hub asks of one to create, upload (plain and LFS), list and download.

It keeps commits in memory. ``refuse`` decides what goes wrong, and when. Xet is not spoken: HF_HUB_DISABLE_XET=1.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from icd_assets_tests.worlds.loopback import Loopback

TOKEN = "hf_of_a_test"
_LFS = (".safetensors", ".parquet")
_REPO = r"(?P<kind>models|datasets)/(?P<id>[\w.-]+/[\w.-]+)"


@dataclass
class Repo:
    """``commits``: each the whole tree, path → bytes; the first is empty, as the hub makes it."""

    private: bool = False
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b"* filter=lfs\n"}])

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1]

    @property
    def sha(self) -> str:
        text = (
            f"{len(self.commits)} {sorted((name, hashlib.sha1(b).hexdigest()) for name, b in self.files.items())}"
        )
        return hashlib.sha1(text.encode()).hexdigest()


class FakeHub(Loopback):
    """``refuse``: part of a path → the status that every request to it gets; 0 drops the connection."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}  # "models/me/mine"
        self.refuse: dict[str, int] = {}
        self.says = "no, says the test"  # to what it refuses
        self.objects: dict[str, bytes] = {}  # LFS, by sha256
        self.asked: list[str] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.hub = self  # type: ignore[attr-defined]
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """For a command that is to publish here."""
        return {"HF_ENDPOINT": self.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}

    # ---- what it answers: (status, headers, content)

    def answer(self, method: str, path: str, body: bytes, token: str | None) -> tuple[int, dict[str, str], Any]:
        if method != "GET" and method != "HEAD" and not path.startswith("/lfs/") and token != f"Bearer {TOKEN}":
            return 401, {}, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {}, {"errors": [], "warnings": []}
        if path.startswith("/lfs/"):
            self.objects[path.rpartition("/")[2]] = body
            return 200, {}, {}
        for pattern, reply in (
            (rf"/api/{_REPO}/preupload/main", self._preupload),
            (rf"/api/{_REPO}/commit/main", self._commit),
            (rf"/api/{_REPO}/tree/(?P<rev>\w+)", self._tree),
            (rf"/api/{_REPO}(/revision/(?P<rev>\w+))?", self._info),
            (r"/(?P<kind>datasets/)?(?P<id>[\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch", self._batch),
            (r"/(?P<kind>datasets/)?(?P<id>[\w.-]+/[\w.-]+)/resolve/(?P<rev>\w+)/(?P<file>.+)", self._file),
        ):
            if (found := re.fullmatch(pattern, path)) is not None:
                repo = self.repos.get(f"{(found['kind'] or 'models').rstrip('/')}/{found['id']}")
                if repo is None:
                    return 404, {"X-Error-Code": "RepoNotFound"}, {"error": "Repository not found"}
                return reply(repo, found.groupdict(), body)  # type: ignore[operator]
        return 404, {}, {"error": f"{method} {path} is not spoken here"}

    def _create(self, asked: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        name = f"{asked['organization']}/{asked['name']}"
        kind, prefix = ("datasets", "datasets/") if asked.get("type") == "dataset" else ("models", "")
        there = f"{kind}/{name}" in self.repos
        self.repos.setdefault(f"{kind}/{name}", Repo(asked.get("visibility") == "private"))
        return 409 if there else 200, {}, {"url": f"{self.url}/{prefix}{name}"}

    def _preupload(self, repo: Repo, _: Any, body: bytes) -> tuple[int, dict[str, str], Any]:
        files = []
        for one in json.loads(body)["files"]:
            lfs, there = one["path"].endswith(_LFS), repo.files.get(one["path"])
            known = None if there is None else (_sha256(there) if lfs else _blob(there))
            mode = "lfs" if lfs else "regular"
            files.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": known})
        return 200, {}, {"files": files}

    def _batch(self, _: Repo, __: Any, body: bytes) -> tuple[int, dict[str, str], Any]:
        objects = [
            {"oid": o["oid"], "size": o["size"]}
            | ({} if o["oid"] in self.objects else {"actions": {"upload": {"href": f"{self.url}/lfs/{o['oid']}"}}})
            for o in json.loads(body)["objects"]
        ]
        return 200, {}, {"transfer": "basic", "objects": objects}

    def _commit(self, repo: Repo, asked: Any, body: bytes) -> tuple[int, dict[str, str], Any]:
        files = dict(repo.files)
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        repo.commits.append(files)
        return 200, {}, {"commitUrl": f"{self.url}/{asked['id']}/commit/{repo.sha}", "commitOid": repo.sha}

    def _info(self, repo: Repo, asked: Any, _: bytes) -> tuple[int, dict[str, str], Any]:
        siblings = [{"rfilename": name} for name in sorted(repo.files)]
        return 200, {}, {"id": asked["id"], "sha": repo.sha, "private": repo.private, "siblings": siblings}

    def _tree(self, repo: Repo, _: Any, __: bytes) -> tuple[int, dict[str, str], Any]:
        found = []
        for name, content in repo.files.items():
            one = {"type": "file", "path": name, "size": len(content), "oid": _blob(content)}
            if name.endswith(_LFS):
                one["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 130}
            found.append(one)
        return 200, {}, found

    def _file(self, repo: Repo, asked: Any, _: bytes) -> tuple[int, dict[str, str], Any]:
        content = repo.files.get(unquote(asked["file"]))
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, {"error": "Entry not found"}
        etag = _sha256(content) if asked["file"].endswith(_LFS) else _blob(content)
        return 200, {"X-Repo-Commit": repo.sha, "ETag": f'"{etag}"'}, content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _blob(content: bytes) -> str:
    """As git names it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _reply(self) -> None:
        hub: FakeHub = self.server.hub  # type: ignore[attr-defined]
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        hub.asked.append(f"{self.command} {path}")
        refused = next((status for part, status in hub.refuse.items() if part in path), None)
        if refused == 0:
            self.close_connection = True
            return
        if refused is not None:
            status, headers, content = refused, {}, {"error": hub.says}
        else:
            status, headers, content = hub.answer(self.command, path, body, self.headers.get("Authorization"))
        sent = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status, None if refused is None else hub.says)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(sent)

    do_GET = do_HEAD = do_POST = do_PUT = _reply

    def log_message(self, *_: object) -> None:
        """Not to the terminal."""
