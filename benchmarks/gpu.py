"""Qwen2.5-VL-3B on this machine's GPU: seconds, and how much of the device's arithmetic they use.

    python benchmarks/gpu.py [--queries 16] [--pointers 13] [--pool 64] [--alone 24] [--batch-size N]
    python benchmarks/gpu.py --endpoint http://host:8000/v1 --model NAME   # and the same prompts through vLLM
    python benchmarks/gpu.py --device cpu --small                          # the same code, a model of few layers

The true configuration with random weights in bfloat16: the speed of a product does not depend on the numbers in
it. The peak is the device's own, measured in the same run by a product of two large matrices. The workloads are
those of benchmarks/pointer_arithmetic.py, each with nothing kept and by way of an answer store, as a step asks:

- RL data: 13 pointers of a query, 3 beams, 5 new tokens, the likelihood of 3 gold answers;
- beam data: the InfoScore search of one query, order "left", 5 beams;
- evaluation: each query at 0 to 4 demonstrations, nested.

FLOP are those of the passes that were really made: counted on the meta device by their shapes, pictures by a
formula. Tokens asked are those of each question's prompt and answer, as if it were read by itself, so that one
figure compares all ways to answer. The baseline asks a part of the questions, drawn at random, one at a time, and
is scaled to all: every beam and every gold answer reads its whole prompt and its own pictures. Of the text only
the tokenizer is not the model's: the demo's, in which some words are more tokens.

The server must take five pictures a prompt (vLLM: --limit-mm-per-prompt) and give prompt_logprobs; its model ends
answers when it likes, ours after five tokens.

Ends with 2 if there is no GPU.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from pointer_arithmetic import TERA, Passes, beam_data, decoder_flops, evaluation, image_flops, rl_data
from real_size_vlm import PIXELS, config, random_model
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from icd_assets.demo.pieces import qwen_tokenizer
from icd_assets.errors import UserError
from icd_assets.evaluation.tables import text_table
from icd_assets.vlm.backend import Backend, Generation, Likelihood, Question, Reply
from icd_assets.vlm.cached_backend import AnswerStore, CachedBackend
from icd_assets.vlm.cached_inputs import CachedInputs
from icd_assets.vlm.endpoint import Endpoint, require_client
from icd_assets.vlm.inputs import ProcessorInputs
from icd_assets.vlm.processor import load_processor
from icd_assets.vlm.prompts import Prompt, PromptStyle, Shot
from icd_assets.vlm.transformers_backend import TransformersBackend

QUESTION = "what sound does it make?"
PATCH = 14
PEAK_SIZES = {"cuda": 8192, "cpu": 512}  # rows and columns of a matrix
Steps = list[list[Question]]


@dataclass(frozen=True)
class Work:
    """What is asked, step by step, and by how many beams it is answered."""

    title: str
    beams: int
    steps: Steps

    @property
    def questions(self) -> list[Question]:
        return [question for step in self.steps for question in step]


class Device:
    def __init__(self, name: str) -> None:
        self.name = name
        self.is_gpu = name.startswith("cuda")

    def seconds(self, work: Callable[[], object]) -> float:
        self._wait()
        began = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - began

    def _wait(self) -> None:
        if self.is_gpu:
            torch.cuda.synchronize(self.name)

    def peak_flops(self) -> float:
        """A second, of a product in bfloat16: the best of a few."""
        size = PEAK_SIZES["cuda" if self.is_gpu else "cpu"]
        left, right = torch.randn(2, size, size, device=self.name).to(torch.bfloat16)
        out = torch.empty_like(left)

        def products() -> None:
            for _ in range(10):
                torch.mm(left, right, out=out)

        self.seconds(products)
        return 10 * 2 * size**3 / min(self.seconds(products) for _ in range(5))

    def forget(self) -> None:
        """Nothing that was freed is held, and the peak of the memory is counted anew."""
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.name)

    def peak_bytes(self) -> int:
        """Of the GPU since :meth:`forget`; on a CPU, of the process since it began."""
        if self.is_gpu:
            return torch.cuda.max_memory_allocated(self.name)
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def __str__(self) -> str:
        return torch.cuda.get_device_name(self.name) if self.is_gpu else "a CPU"


class Model:
    """Random weights behind the production backend, and what goes through them."""

    def __init__(self, folder: Path, options: argparse.Namespace, side: tuple[int, int]) -> None:
        shape = config(qwen_tokenizer(), tiny=options.small)
        self.weights = random_model(shape, options.device)
        self.batch_size = options.batch_size
        self._tiny = options.small
        self._grid = side[1] // PATCH, side[0] // PATCH
        self._processor = load_processor(folder)
        self._passes = Passes(self.weights)

    def backend(self, beams: int, *, alone: bool = False) -> TransformersBackend:
        weights = self.weights
        inputs: ProcessorInputs | CachedInputs = (
            ProcessorInputs(self._processor, weights.device, weights.dtype)
            if alone
            else CachedInputs(self._processor, weights, 1 << 30)
        )
        return TransformersBackend(
            weights,
            inputs,
            digest="random",
            style=PromptStyle(),
            generation=Generation(num_beams=beams, min_new_tokens=5),
            batch_size=1 if alone else self.batch_size,
            exact=False,  # as on a GPU
        )

    def begin(self) -> None:
        self._passes.decoder.clear()
        self._passes.images = 0

    @property
    def flops(self) -> float:
        """Since :meth:`begin`."""
        passes = self._passes.decoder.items()
        decoded = sum(decoder_flops(*one, tiny=self._tiny) * times for one, times in passes)
        return decoded + self._passes.images * image_flops(self._grid, tiny=self._tiny)

    @property
    def tokens_fed(self) -> int:
        """Since :meth:`begin`, padding counted."""
        return sum(rows * fed * times for (rows, fed, _, _), times in self._passes.decoder.items())


def library_of(folder: Path, count: int, side: tuple[int, int], rng: random.Random) -> list[Shot]:
    shots = []
    for index in range(count):
        path = folder / f"{index}.jpg"
        Image.effect_noise(side, 40 + index).convert("RGB").save(path)
        shots.append(Shot(path, QUESTION, rng.choice(["buzz", "hum"])))
    return shots


def works(library: Sequence[Shot], queries: int, pointers: int, pool: int, beams: int) -> list[Work]:
    rng = random.Random(0)
    prompts = pool * 6 - 4
    return [
        Work(
            f"RL data, {queries} × {pointers} pointers",
            beams,
            [rl_data(rng, library, queries, pointers, pool)],
        ),
        Work(f"beam data, {prompts} prompts of a query", 1, beam_data(rng, library, 1, pool)),
        Work(f"evaluation, {queries} queries at 0 to 4 shots", beams, [evaluation(rng, library, queries)]),
    ]


def asked(backend: Backend, steps: Steps, store: Path) -> list[Reply]:
    """As a step of the pipeline asks: by way of an answer store, which is empty."""
    store.unlink(missing_ok=True)
    with CachedBackend(backend, AnswerStore(store)) as cached:
        return [reply for step in steps for reply in cached.replies(step)]


def differences(ours: Sequence[Reply], alone: Sequence[Reply]) -> list[float]:
    """Of log-likelihoods; answers of random weights are near ties, which say nothing."""
    pairs = zip(ours, alone, strict=True)
    return [
        abs(one.logprob - other.logprob)
        for one, other in pairs
        if isinstance(one, Likelihood) and isinstance(other, Likelihood)
    ]


def measured(
    work: Work, model: Model, device: Device, peak: float, alone: int, store: Path
) -> tuple[list[str], int, list[float]]:
    """A line of the table, the tokens asked, and by how much log-likelihoods differ from the baseline's."""
    questions = work.questions
    device.forget()
    model.begin()
    replies: list[Reply] = []
    backend = model.backend(work.beams)
    took = device.seconds(lambda: replies.extend(asked(backend, work.steps, store)))
    flops, fed, memory = model.flops, model.tokens_fed, device.peak_bytes()
    tokens = sum(len(one.row.ids) for one in backend._asked(questions))
    chosen = random.Random(1).sample(range(len(questions)), min(alone, len(questions)))
    baseline = model.backend(work.beams, alone=True)
    one_by_one: list[Reply] = []
    model.begin()
    slow = device.seconds(lambda: one_by_one.extend(baseline.replies([questions[at]])[0] for at in chosen))
    scale = len(questions) / len(chosen)
    cells = [
        work.title,
        f"{len(questions):,}",
        f"{flops / TERA:,.3g}",
        f"{took:,.2f}",
        f"{flops / took / TERA:,.3g}",
        f"{flops / took / peak:.0%}",
        f"{tokens / took:,.0f}",
        f"{fed / took:,.0f}",
        f"{memory / 1e9:.1f}",
        f"{slow * scale:,.1f}",
        f"{model.flops * scale / TERA:,.3g}",
        f"{slow * scale / took:.1f}",
    ]
    return cells, tokens, differences([replies[at] for at in chosen], one_by_one)


HEADER = [
    "work",
    "questions",
    "TFLOP",
    "seconds",
    "TFLOP/s",
    "of the peak",
    "tokens asked/s",
    "tokens fed/s",
    "peak memory, GB",
    "one at a time, seconds",
    "TFLOP",
    "ratio",
]


def served(options: argparse.Namespace) -> Callable[[int], Backend]:
    """A backend of the server by the number of beams."""
    from icd_assets.vlm.endpoint_backend import EndpointBackend

    endpoint = Endpoint(
        url=options.endpoint,
        model=options.model,
        server="vllm",
        likelihoods="vllm",
        revision="any",
        concurrency=options.concurrency,
    )
    return lambda beams: EndpointBackend(endpoint, style=PromptStyle(), generation=Generation(num_beams=beams))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--small", action="store_true", help="few layers of a small width, pictures of 112 × 112")
    parser.add_argument("--queries", type=int, default=16)
    parser.add_argument("--pointers", type=int, default=13)
    parser.add_argument("--pool", type=int, default=64)
    parser.add_argument("--beams", type=int, default=3)
    parser.add_argument("--alone", type=int, default=24, help="questions that the baseline answers of each work")
    parser.add_argument("--batch-size", type=int, help="prompts at once; without it the GPU's memory decides")
    parser.add_argument("--endpoint", metavar="URL", help="a vLLM server that is asked the same")
    parser.add_argument("--model", help="the name under which it knows the model")
    parser.add_argument("--concurrency", type=int, default=64, help="requests at the server at once")
    options = parser.parse_args()
    if (options.endpoint is None) != (options.model is None):
        parser.error("--endpoint and --model go together")
    return options


def run(options: argparse.Namespace, folder: Path) -> None:
    side = (112, 112) if options.small else (640, 480)
    tokenizer = qwen_tokenizer()
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(size=PIXELS).save_pretrained(folder)
    config(tokenizer, tiny=options.small).save_pretrained(folder)
    device = Device(options.device)
    rng, store = random.Random(0), folder / "answers.sqlite"
    library = library_of(folder, max(2 * options.pool, options.queries), side, rng)
    every = works(library, options.queries, options.pointers, options.pool, options.beams)
    ask = served(options) if options.endpoint else None

    size, peak = PEAK_SIZES["cuda" if device.is_gpu else "cpu"], device.peak_flops()
    print(
        f"{device}, torch {torch.__version__}: {peak / TERA:,.3g} TFLOP/s, measured by a product of two bfloat16 "
        f"matrices of {size} × {size}."
    )
    device.forget()
    model = Model(folder, options, side)
    batches = model.backend(options.beams)._batches
    most = f"{batches.rows:,} prompts" if batches.tokens == math.inf else f"{batches.tokens:,} tokens"
    count = sum(weights.numel() for weights in model.weights.parameters())
    print(
        f"{count / 1e9:.2f} B random weights in bfloat16, pictures of {side[0]} × {side[1]}, batches of at most "
        f"{most}.\n"
    )
    # The device's kernels are loaded and chosen before anything is timed.
    warm = [Prompt((library[-1], library[-2]), library[-3].image, QUESTION)]
    for alone in (False, True):
        backend = model.backend(options.beams, alone=alone)
        backend.replies([Question(warm[0]), Question(warm[0], "hum")])

    lines, tokens, apart = [], [], []
    for work in every:
        line, count, differ = measured(work, model, device, peak, options.alone, store)
        lines.append(line)
        tokens.append(count)
        apart += differ
    print(text_table(HEADER, lines))
    print(
        f"\nLog-likelihoods differ from those of one prompt at a time by {max(apart, default=0):.2g} at most, in "
        f"bfloat16 ({len(apart)} compared)."
    )
    if ask is not None:
        lines = []
        for work, count in zip(every, tokens, strict=True):
            with ask(work.beams) as backend:
                took = device.seconds(lambda: asked(backend, work.steps, store))  # noqa: B023 - called here
            lines.append([work.title, f"{took:,.2f}", f"{count / took:,.0f}"])
        print(f"\n{options.model} at {options.endpoint}, {options.concurrency} requests at once:\n")
        print(text_table(["work", "seconds", "tokens asked/s"], lines))


def main() -> int:
    options = arguments()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(
            "torch has no GPU here: run this on a machine with one, or the same code on a small model with "
            "--device cpu --small.",
            file=sys.stderr,
        )
        return 2
    try:
        if options.endpoint:
            require_client()
        with tempfile.TemporaryDirectory() as folder:
            run(options, Path(folder))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
