"""Answers per second of a served model at growing concurrency, against one request at a time, in one run.

    python benchmarks/endpoint_concurrency.py [--latency 0.1] [--prompts 64] [--repeats 3] [--concurrency 4 16]

The server answers every request after a fixed latency, so what is measured is how well this side keeps it busy:
the ideal ratio is the concurrency. Images are those of 2-shot prompts at COCO's size, sent as the files are. Each
number is the median of the repeats; all take turns, so that a busy machine slows all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

from icd_assets.vlm.backend import Generation
from icd_assets.vlm.endpoint import Endpoint
from icd_assets.vlm.endpoint_backend import EndpointBackend
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot

_REPLY = json.dumps({"choices": [{"message": {"content": "red"}, "finish_reason": "stop"}]}).encode()


def server(latency: float) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(latency)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(_REPLY)))
            self.end_headers()
            self.wfile.write(_REPLY)

        def log_message(self, *_: object) -> None:
            """Not to the terminal."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 512

    started = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=started.serve_forever, daemon=True).start()
    return started


def prompts_of(folder: Path, count: int) -> list[Prompt]:
    images = []
    for index in range(24):
        images.append(folder / f"{index}.jpg")
        Image.effect_noise((640, 480), 40 + index).convert("RGB").save(images[-1], quality=60)
    return [
        Prompt(
            tuple(Shot(images[(number + shot) % 24], "what is this?", "red") for shot in (1, 2)),
            images[number % 24],
            f"question {number}?",
        )
        for number in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.1)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[4, 16])
    options = parser.parse_args()
    there = server(options.latency)
    url = f"http://127.0.0.1:{there.server_port}/v1"
    with tempfile.TemporaryDirectory() as folder:
        prompts = prompts_of(Path(folder), options.prompts)
        backends = {}
        for concurrency in (1, *options.concurrency):
            endpoint = Endpoint(url=url, model="m", server="openai", revision="fixed", concurrency=concurrency)
            backends[concurrency] = EndpointBackend(
                endpoint, style=PromptStyle(), generation=Generation(num_beams=1)
            )
            backends[concurrency].generate(prompts[:24])  # every image is read and encoded
        times: dict[int, list[float]] = {concurrency: [] for concurrency in backends}
        for _ in range(options.repeats):
            for concurrency, backend in backends.items():
                began = time.perf_counter()
                backend.generate(prompts)
                times[concurrency].append(time.perf_counter() - began)
    there.shutdown()
    rates = {concurrency: options.prompts / statistics.median(taken) for concurrency, taken in times.items()}
    print("at once  answers/s  ratio")
    for concurrency, rate in rates.items():
        print(f"{concurrency:7}  {rate:9.1f}  {rate / rates[1]:5.2f}")


if __name__ == "__main__":
    main()
