"""Workers that are actors of a Ray cluster: each has a GPU of it, or a CPU where it has no GPU.

An actor's thread does what a process of this machine does (:func:`icd_assets.vlm.worker.serve`); each call of its
one method takes in a request, if there is one, and answers with the next message. Ray ends actors with whoever
started them, and starts none again: that is for :class:`icd_assets.vlm.workers.Workers` to do.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

from icd_assets.errors import UserError
from icd_assets.runtime.foreign import printable
from icd_assets.runtime.provenance import versions
from icd_assets.runtime.ray_cluster import connect
from icd_assets.vlm.worker import serve
from icd_assets.vlm.workers import Gone, Message, Worker

_MOST = 256
# What an actor is given of this process's environment: how the libraries compute, and where the hub's cache is.
_SENT = (
    *("ATEN_", "CUBLAS_", "DNNL_", "HF_", "MKL_", "NVIDIA_TF32", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTORCH_"),
    *("TORCH_", "TRANSFORMERS_"),
)
_SECRETS = ("KEY", "PASSWORD", "SECRET", "TOKEN")  # a cluster's pages show the variables of its actors
_SAME = ("icd-assets", "torch", "transformers", "numpy", "Pillow")  # what decides an answer's bits
_WHY = 200  # characters of what Ray says of a death
_NOTE_SECONDS = 60.0

_log = logging.getLogger(__name__)


def on_ray(number: int | None) -> list[Worker]:
    """So many; None: one for each GPU of the cluster, or for each CPU of one without. Raises ``UserError``."""
    ray = connect()
    has: Mapping[str, float] = ray.cluster_resources()
    gpu = has.get("GPU", 0) >= 1
    found = int(has.get("GPU" if gpu else "CPU", 0))
    count = min(number or max(1, found), _MOST)
    threads = max(1, int(has.get("CPU", 1)) // found) if gpu else 1
    variables = {"ICD_THREADS": os.environ.get("ICD_THREADS") or str(threads), **_sent()}
    if not gpu:
        variables["CUDA_VISIBLE_DEVICES"] = ""  # a node may have one that the cluster was not given
    options = {
        "num_cpus": 1,
        "num_gpus": int(gpu),
        "max_restarts": 0,
        "max_task_retries": 0,
        "scheduling_strategy": "SPREAD",
        "runtime_env": {"env_vars": variables},
    }
    hire = partial(ray.remote(Actor).options(**options).remote, str(Path.cwd()), _versions())
    return [RayWorker(ray, hire, f"worker {at} of {count}") for at in range(1, count + 1)]


def _sent() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_SENT) and not any(word in name for word in _SECRETS)
    }


def _versions() -> dict[str, str]:
    """Builds for other processors (``2.13.0+cpu``) count as the same."""
    return {name: version.partition("+")[0] for name, version in versions().items() if name in _SAME}


class RayWorker(Worker):
    """An actor if one was started. ``hire`` starts it."""

    def __init__(self, ray: Any, hire: Callable[[], Any], name: str) -> None:
        super().__init__(name)
        self._ray = ray
        self._hire = hire
        self._actor: Any = None
        self._message: Any = None  # Ray's reference to the next one
        self._why = ""

    @property
    def alive(self) -> bool:
        return self._actor is not None

    def start(self, opens: bytes) -> None:
        self._actor = self._hire()
        self.send(opens)

    def send(self, request: bytes) -> None:
        self._message = self._actor.next.remote(request)

    def receive(self) -> Message:
        try:
            message = cast(Message, self._ray.get(self._message))
        except self._ray.exceptions.RayError as error:
            self._why = _reason(error)
            if getattr(error, "actor_init_failed", False):
                raise UserError(
                    f"a node of Ray's cluster cannot start a worker ({self._why}); install what is installed here "
                    "on each node."
                ) from None
            raise Gone from None
        if message[0] == "answered":
            self._message = self._actor.next.remote()
        return message

    @classmethod
    def ready(cls, workers: Sequence[Worker], *, wait: bool) -> Sequence[Worker]:
        of = {worker._message: worker for worker in workers if isinstance(worker, RayWorker)}
        ray = next(iter(of.values()))._ray
        while wait and not ray.wait(list(of), num_returns=1, timeout=_NOTE_SECONDS)[0]:
            if not any(worker.open for worker in of.values()):
                _log.warning("no worker has the model open yet; `ray status` shows what of the cluster is free")
        found, _ = ray.wait(list(of), num_returns=len(of), timeout=0)  # not the first of them alone
        return [of[message] for message in found]

    def end(self) -> str:
        actor, self._actor, self._message, self.at, self.open = self._actor, None, None, None, False
        if actor is None:
            return "was not started"
        with suppress(Exception):  # of a cluster that is gone
            self._ray.kill(actor)
        return f"was lost by Ray ({self._why})"


def _reason(error: Exception) -> str:
    """Of a death: the first sentence of what Ray says; of an actor that cannot be made: the error."""
    text = str(error).strip() or type(error).__name__
    last = text.splitlines()[-1].strip()
    return printable(last.rpartition("exit detail: ")[2].partition(". ")[0].rstrip(".")[:_WHY])


class Actor:
    """What :func:`icd_assets.vlm.worker.serve` does, in a process of the cluster.

    ``folder``: the parent's, in which relative paths begin; ``expected``: its versions of packages.
    """

    def __init__(self, folder: str, expected: Mapping[str, str]) -> None:
        with suppress(OSError):  # paths that begin in it are named when they are not found
            os.chdir(folder)
        self._received: SimpleQueue[bytes] = SimpleQueue()
        self._sent: SimpleQueue[Message] = SimpleQueue()
        self._expected = expected
        threading.Thread(target=self._work, daemon=True).start()

    def next(self, request: bytes | None = None) -> Message:
        """The next message, after ``request`` was taken in."""
        if request is not None:
            self._received.put(request)
        return self._sent.get()

    def _work(self) -> None:
        found = _versions()
        for name, version in self._expected.items():
            if found[name] != version:
                sentence = f"{name} is {found[name]}, but where the command runs {version}; install the same."
                self.send(("failed", UserError(sentence)))
                return
        serve(self)

    def recv_bytes(self) -> bytes:
        """The other end of it, for the thread."""
        return self._received.get()

    def send(self, message: Message) -> None:
        what, content = message
        if what == "failed" and isinstance(content, UserError):
            content = UserError(f"on node {_node()} of Ray's cluster: {content}")
        self._sent.put((what, content))


def _node() -> str:
    import ray

    return str(ray.util.get_node_ip_address())
