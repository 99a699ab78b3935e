"""Workers on a Ray cluster, whose part is played here: a real one is in pipeline/test_ray_work.py."""

from __future__ import annotations

import pickle
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

import pytest

from icd_assets.demo import weights
from icd_assets.errors import UserError
from icd_assets.runtime.device import OnRay
from icd_assets.runtime.ray_cluster import connect
from icd_assets.store.digests import DigestCache
from icd_assets.vlm.backend import ApartBackend, Backend, Generation, HandOver, Likelihood, Question
from icd_assets.vlm.backends.in_process import InProcess
from icd_assets.vlm.prompts import Prompt, PromptStyle
from icd_assets.vlm.ray_workers import Actor, on_ray
from icd_assets.vlm.weights import weights_digest
from icd_assets.vlm.workers import WorkerDied, Workers

TINY = Path(next(iter(weights.__path__))) / "tiny_vl"
DEATH = """The actor died unexpectedly before finishing this task.
\tpid: 362
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was"""


class RayError(Exception):
    actor_init_failed = False


class Died(BaseException):
    """In place of a process's end."""


class FakeRay(ModuleType):
    """What of Ray is used, and nothing at once: each actor has worked before it is waited for.

    ``places``: so many actors are started, the others wait for one.
    """

    exceptions = SimpleNamespace(RayError=RayError)
    util = SimpleNamespace(get_node_ip_address=lambda: "10.0.0.7")

    def __init__(self, places: int = 8, **has: float) -> None:
        super().__init__("ray")
        self.__spec__ = ModuleSpec("ray", None)
        self.places = places
        self.has = has or {"CPU": 2.0}
        self.options: dict[str, Any] = {}
        self.alive: list[Scripted] = []
        self.met: list[tuple[int, str]] = []  # by which actor, a prompt
        self.joined: list[str] = []
        self.cannot: RayError | None = None  # start an actor
        self.patience = 0  # so often it is waited in vain, then one place more is there

    def is_initialized(self) -> bool:
        return bool(self.joined)

    def init(self, address: str, **_: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: None)
        self.joined.append(address)

    def cluster_resources(self) -> Mapping[str, float]:
        return self.has

    def remote(self, kind: type) -> Any:
        assert kind is Actor
        return SimpleNamespace(options=self._with)

    def _with(self, **options: Any) -> Any:
        self.options = options
        return SimpleNamespace(remote=self._start)

    def _start(self, folder: str, versions: Mapping[str, str]) -> Scripted:
        assert Path(folder) == Path.cwd() and "torch" in versions
        self.alive.append(Scripted(self))
        return self.alive[-1]

    def get(self, ref: Ref) -> Any:
        assert ref.ready
        if isinstance(ref.value, RayError):
            self.kill(ref.of)
            raise ref.value
        return ref.value

    def wait(
        self, refs: Sequence[Ref], *, num_returns: int, timeout: float | None = None
    ) -> tuple[list[Ref], list[Ref]]:
        assert len(set(refs)) == len(refs) >= num_returns
        found = [ref for ref in refs if ref.ready][:num_returns]
        if not found and timeout != 0:
            assert timeout and self.patience > 0, "it waits for ever"
            self.patience -= 1
            self.places += not self.patience
        return found, [ref for ref in refs if ref not in found]

    def kill(self, actor: Scripted) -> None:
        if actor in self.alive:
            self.alive.remove(actor)


class Scripted:
    """An actor."""

    def __init__(self, ray: FakeRay) -> None:
        self.ray = ray
        self.next = SimpleNamespace(remote=self._next)
        self._backend: Backend | None = None
        self._messages: deque[Any] = deque()

    def _next(self, request: bytes | None = None) -> Ref:
        if request is not None:
            self._take(pickle.loads(request))  # noqa: S301
        return Ref(self, self._messages.popleft())

    def _take(self, request: Any) -> None:
        if self.ray.cannot is not None:
            self._messages.append(self.ray.cannot)
        elif self._backend is None:
            self._backend = request()
            self._messages.append(("opened", self._backend.digest))
        else:
            ray, number = self.ray, id(self)
            ray.met += [(number, question.prompt.question) for question in request]
            try:
                self._backend.ask(request, lambda answers: self._messages.append(("answered", dict(answers))))
                self._messages.append(("done", None))
            except Died:
                self._messages.append(RayError(DEATH))


class Ref:
    """To a message of an actor, which may wait for a place."""

    def __init__(self, of: Scripted, value: Any) -> None:
        self.of = of
        self.value = value

    @property
    def ready(self) -> bool:
        ray = self.of.ray
        return self.of not in ray.alive or ray.alive.index(self.of) < ray.places


class Clerk(ApartBackend):
    """Answers two prompts at a time. It dies at "die", and once for each file ``once`` at "die once"."""

    def __init__(self, once: Path | None = None) -> None:
        super().__init__(digest="clerk", style=PromptStyle(), generation=Generation())
        self.once = once

    def answer(self, prompts: Sequence[Prompt], hand_over: HandOver[str]) -> None:
        for start in range(0, len(prompts), 2):
            batch = {start + at: prompt.question for at, prompt in enumerate(prompts[start : start + 2])}
            if "die" in batch.values():
                raise Died
            if "die once" in batch.values() and self.once is not None and not self.once.exists():
                self.once.touch()
                raise Died
            if "refuse" in batch.values():
                raise UserError("image /data/7.jpg does not exist; restore it or fix the images path.")
            hand_over({at: f"{question}!" for at, question in batch.items()})

    def score(self, prompts: Sequence[Prompt], answers: Sequence[str], hand_over: HandOver[Likelihood]) -> None:
        hand_over({at: Likelihood(-float(len(answer)), 1) for at, answer in enumerate(answers)})


def prompts(*questions: str) -> list[Prompt]:
    return [Prompt((), Path("no.jpg"), question) for question in questions]


def workers(number: int | None = None, once: Path | None = None) -> Workers:
    how = {"style": PromptStyle(), "generation": Generation()}
    return Workers(partial(Clerk, once), partial(on_ray, number), digest="clerk", **how)


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def play(monkeypatch: pytest.MonkeyPatch, address: str, ray: FakeRay) -> FakeRay:
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setenv("RAY_ADDRESS", address)
    return ray


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch, listening: str) -> FakeRay:
    return play(monkeypatch, listening, FakeRay())


def test_requests_are_shared_and_no_actor_is_left(ray: FakeRay) -> None:
    requests = [prompts(*(f"{number}.{at}" for at in range(5))) for number in range(7)]
    found: dict[int, dict[int, Any]] = {number: {} for number in range(7)}
    with workers() as backend:
        backend.ask_each(
            ([Question(prompt) for prompt in asked] for asked in requests),
            lambda number, a: found[number].update(a),
        )
        assert len(ray.alive) == 2 and len({actor for actor, _ in ray.met}) == 2
        assert backend.answer_likelihoods(prompts("a"), ["xyz"]) == [Likelihood(-3.0, 1)]
    assert [[found[n][at] for at in range(5)] for n in range(7)] == [
        [f"{n}.{at}!" for at in range(5)] for n in range(7)
    ]
    assert not ray.alive


def test_nothing_is_started_before_it_is_needed(ray: FakeRay) -> None:
    with workers() as backend:
        backend.ask_each(iter(()), lambda *_: None)
    assert not ray.joined


def test_a_dead_one_is_started_again_for_what_it_had_not_answered(ray: FakeRay, tmp_path: Path) -> None:
    asked = prompts("a", "b", "c", "die once", "e")
    with workers(once=tmp_path / "once") as backend:
        assert backend.generate(asked) == [f"{prompt.question}!" for prompt in asked]
    assert [question for _, question in ray.met] == ["a", "b", "c", "die once", "e", "c", "die once", "e"]


def test_three_deaths_at_the_same_prompts(ray: FakeRay) -> None:
    sentence = (
        r"^worker 1 of 2 of the model was lost by Ray \(Worker unexpectedly exits with a connection error code "
        r"2\) 3 times at the same 1 prompts; .*ICD_WORKERS"
    )
    with workers() as backend:
        with pytest.raises(WorkerDied, match=sentence):
            backend.generate(prompts("a", "b", "die"))
        assert not ray.alive
        assert backend.generate(prompts("a")) == ["a!"], "and others can be asked"


def test_those_that_no_place_is_free_for_keep_nothing_back(
    monkeypatch: pytest.MonkeyPatch, listening: str
) -> None:
    ray = play(monkeypatch, listening, FakeRay(places=1))
    found: dict[int, Mapping[int, Any]] = {}
    with workers(4) as backend:
        backend.ask_each(([Question(prompt)] for prompt in prompts(*"abcdef")), found.__setitem__)
        assert len(ray.alive) == 4
    assert [found[number] for number in range(6)] == [{0: f"{letter}!"} for letter in "abcdef"]


def test_a_cluster_that_has_no_place_is_waited_for_and_that_is_noted(
    ray: FakeRay, caplog: pytest.LogCaptureFixture
) -> None:
    ray.places, ray.patience = 0, 2
    with workers() as backend:
        assert backend.generate(prompts("a")) == ["a!"]
        assert [record.message for record in caplog.records] == [
            "no worker has the model open yet; `ray status` shows what of the cluster is free"
        ] * 2


@pytest.mark.parametrize(
    ("has", "number", "count", "gpus", "threads"),
    [
        ({"CPU": 16.0, "GPU": 4.0}, None, 4, 1, "4"),
        ({"CPU": 16.0, "GPU": 4.0}, 2, 2, 1, "4"),
        ({"CPU": 3.0}, None, 3, 0, "1"),
        ({"CPU": 3.0}, 5, 5, 0, "1"),
        ({"CPU": 1000.0}, None, 256, 0, "1"),
        ({}, None, 1, 0, "1"),
    ],
)
def test_how_many_and_what_each_is_given(
    monkeypatch: pytest.MonkeyPatch,
    listening: str,
    has: dict[str, float],
    number: int | None,
    count: int,
    gpus: int,
    threads: str,
) -> None:
    ray = play(monkeypatch, listening, FakeRay())
    ray.has = has
    for name, value in {
        "HF_HOME": "/hub",
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_TOKEN": "x",
        "ICD_UI_TOKEN": "x",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ICD_THREADS", raising=False)
    assert [worker.name for worker in on_ray(number)] == [f"worker {at + 1} of {count}" for at in range(count)]
    assert (ray.options["num_gpus"], ray.options["max_restarts"]) == (gpus, 0)
    variables = ray.options["runtime_env"]["env_vars"]
    assert (variables["HF_HOME"], variables["OMP_WAIT_POLICY"], variables["ICD_THREADS"]) == (
        "/hub",
        "PASSIVE",
        threads,
    )
    assert variables.get("CUDA_VISIBLE_DEVICES") == (None if gpus else "")
    assert not {"HF_TOKEN", "ICD_UI_TOKEN", "PATH"} & variables.keys()


def test_a_node_without_the_package(ray: FakeRay) -> None:
    ray.cannot = RayError("The actor died because of an error\nModuleNotFoundError: No module named 'icd_assets'")
    ray.cannot.actor_init_failed = True
    with (
        workers() as backend,
        pytest.raises(UserError, match=r"No module named 'icd_assets'\); install .* on each"),
    ):
        backend.generate(prompts("a"))
    assert not ray.alive


def actor(ray: FakeRay, versions: Mapping[str, str] | None = None, folder: str = ".") -> Actor:
    return Actor(folder, versions or {})


def test_an_actor_answers_as_a_process_does(ray: FakeRay) -> None:
    one = actor(ray, folder="/no/such/folder")
    assert one.next(pickle.dumps(Clerk)) == ("opened", "clerk")
    assert one.next(pickle.dumps([Question(prompt) for prompt in prompts("a", "b", "c")])) == (
        "answered",
        {0: "a!", 1: "b!"},
    )
    assert one.next() == ("answered", {2: "c!"})
    assert one.next() == ("done", None)


def test_what_a_file_of_another_machine_is_refused_for_names_that_machine(ray: FakeRay) -> None:
    one = actor(ray)
    one.next(pickle.dumps(Clerk))
    what, error = one.next(pickle.dumps([Question(prompt) for prompt in prompts("refuse")]))
    assert (what, str(error)) == (
        "failed",
        "on node 10.0.0.7 of Ray's cluster: image /data/7.jpg does not exist; restore it or fix the images path.",
    )


def test_other_versions_of_what_computes_are_refused(ray: FakeRay) -> None:
    what, error = actor(ray, {"transformers": "4.0"}).next(pickle.dumps(Clerk))
    assert what == "failed" and isinstance(error, UserError)
    assert str(error).startswith("on node 10.0.0.7 of Ray's cluster: transformers is ")
    assert str(error).endswith(", but where the command runs 4.0; install the same.")


@pytest.mark.parametrize(
    "address",
    [
        "",
        " ",
        "auto",
        "local",
        "http://10.0.0.1:8265",
        "ray://10.0.0.1:10001",
        "10.0.0.1",
        ":6379",
        "a:0",
        "a:99999",
        "a b:1",
        "\x1b:1",
    ],
)
def test_an_address_at_which_no_workers_are(ray: FakeRay, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(
        UserError, match=r"RAY_ADDRESS .*; set it to the address of its head, such as 10\.0\.0\.10:6379\.$"
    ):
        connect()
    assert not ray.joined


def test_a_cluster_that_is_not_there(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(
        UserError, match=rf"^no cluster of Ray can be joined at RAY_ADDRESS=127\.0\.0\.1:{port} \(.*refused\)"
    ):
        connect()
    assert not ray.joined, "Ray itself would wait for minutes"


def test_a_cluster_that_refuses_is_named(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.58.0")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UserError, match=r"can be joined at .* \(Version mismatch"):
        connect()


def test_an_end_by_sigterm_stays_ours(ray: FakeRay) -> None:
    before = signal.getsignal(signal.SIGTERM)
    connect()
    connect()
    assert len(ray.joined) == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(UserError, match=r"^ICD_WORKERS=ray needs .*pip install 'icd-assets\[ray\]'\.$"):
        connect()


def test_a_model_on_ray_is_opened_where_the_worker_is_and_must_be_the_same(tmp_path: Path) -> None:
    config = InProcess(path=str(TINY), dtype="float32")
    how: dict[str, Any] = {"style": PromptStyle(), "generation": Generation()}
    digest = weights_digest(TINY, DigestCache(tmp_path / "digests.json"))
    backend = config.open_in(OnRay(3), digest=digest, device="cuda:0", **how)
    assert isinstance(backend, Workers)
    opened = pickle.loads(backend._opens)()  # noqa: S301
    assert opened.digest == backend.digest, "on the device that is there, whatever was held here"
    other = config.open_in(OnRay(3), digest="0" * 64, device="cpu", **how)
    assert isinstance(other, Workers)
    with pytest.raises(UserError, match=r"tiny_vl holds another model \(digest [0-9a-f]{16}\) than .* \(0{16}\);"):
        pickle.loads(other._opens)()  # noqa: S301
