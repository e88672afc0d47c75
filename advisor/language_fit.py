"""The answers about a language model: does it fit, how long a context, how fast it reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fitcard.advisor.answer import Answer, MemoryAnswer, SpeedAnswer
from fitcard.advisor.choice import TIGHT_ABOVE, Verdict, verdict_of
from fitcard.advisor.hardware import Hardware
from fitcard.advisor.language_memory import LanguageNeed, completed, longest_context, need
from fitcard.advisor.language_model import LanguageModel, header_model, traced_model
from fitcard.advisor.language_speed import TokenRate, decode_rate, prefill_rate
from fitcard.advisor.memory import available_bytes
from fitcard.catalog import Catalog
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.gguf_header import read_gguf_header
from fitcard.catalog.gguf_plan import label_of, parts_of
from fitcard.catalog.schema.runtimes import Runtimes
from fitcard.catalog.schema.tensor_types import PLAIN
from fitcard.catalog.schema.workload import Workload

ENGINE = "llama.cpp"
MOST_SEQUENCES = 256
"""llama.cpp's own limit (LLAMA_MAX_SEQ)."""
UNIT = "tokens/s"


@dataclass(frozen=True)
class LanguageQuestion:
    """What is asked about a language model, with all that answers rest on but the hardware."""

    model: str
    labels: tuple[str, ...]
    variant: Callable[[str], LanguageModel]
    """The model in the quantization of a label."""
    runtimes: Runtimes
    notes: tuple[str, ...] = ()

    def answer(self, label: str, hardware: Hardware, workload: Workload, *, with_speed: bool = True) -> Answer:
        """One variant on one GPU."""
        gpu, model = hardware.gpu, self.variant(label)
        workload = completed(workload, model.longest_context)
        needed = need(model, self.runtimes, gpu, workload)
        available = available_bytes(self.runtimes, gpu)
        verdict = verdict_of(needed.required_bytes, available)
        longest = longest_context(model, self.runtimes, gpu, workload, available)
        writes = reads = None
        if with_speed and verdict in ("fits", "tight"):
            speed = self.runtimes.token_speed.get(gpu.vendor)
            depth = workload.context_tokens or 1
            writes = decode_rate(model, gpu, speed, workload, depth)
            reads = prefill_rate(model, gpu, speed, workload.prompt_tokens or 1)
        first = None
        if writes and reads:
            first = (workload.prompt_tokens or 0) / reads.per_second + (workload.parallel or 1) / writes.per_second
        return Answer(
            model=self.model,
            component="language",
            quantization=label,
            gpu=gpu.id,
            workload=workload,
            verdict=verdict,
            evidence="predicted",
            memory=MemoryAnswer(
                weights_bytes=needed.weights_bytes,
                activations_bytes=needed.compute_bytes,
                buffers_bytes=0,
                runtime_bytes=needed.runtime_bytes,
                required_bytes=needed.required_bytes,
                available_bytes=available,
                evidence="predicted",
                cache_bytes=needed.cache_bytes,
                host_bytes=needed.host_bytes,
            ),
            max_batch=self._most_sequences(model, hardware, workload, available),
            speed=_spoken(writes),
            reasons=(*self._reasons(model, hardware, workload, needed, available, verdict, longest), *self.notes),
            engine=ENGINE,
            max_context=longest,
            prefill=_spoken(reads),
            time_to_first_token_s=first,
        )

    def _most_sequences(self, model: LanguageModel, hardware: Hardware, workload: Workload, available: int) -> int:
        """How many sequences of such a context fit at once."""
        low, high = 0, MOST_SEQUENCES
        while low < high:
            middle = (low + high + 1) // 2
            asked = workload._replace(parallel=middle)
            if need(model, self.runtimes, hardware.gpu, asked).required_bytes <= available:
                low = middle
            else:
                high = middle - 1
        return low

    def _reasons(
        self,
        model: LanguageModel,
        hardware: Hardware,
        workload: Workload,
        needed: LanguageNeed,
        available: int,
        verdict: Verdict,
        longest: int,
    ) -> list[str]:
        gb, gpu = 1e9, hardware.gpu
        parts = (
            f"{needed.weights_bytes / gb:.2f} weights, {needed.cache_bytes / gb:.2f} cache, "
            f"{needed.compute_bytes / gb:.2f} compute buffer, {needed.runtime_bytes / gb:.2f} runtime"
        )
        reasons = [
            f"needs {needed.required_bytes / gb:.2f} GB ({parts}); {available / gb:.2f} of "
            f"{gpu.spec.memory_bytes / gb:.2f} GB are free"
        ]
        if needed.host_bytes:
            reasons.append(f"{needed.host_bytes / gb:.2f} GB of token embeddings stay in main memory")
        if verdict == "tight":
            reasons.append(f"less than {1 - TIGHT_ABOVE:.0%} of the free memory would be left")
        if model.longest_context and (workload.context_tokens or 0) > model.longest_context:
            reasons.append(
                f"the model was made for {model.longest_context:,} tokens; beyond that its answers get worse"
            )
        if model.longest_context and longest >= model.longest_context:
            reasons.append("the longest context is the model's own limit, not the GPU's")
        if model.estimated:
            reasons.append(
                "the compute buffer is worked out from the file's header, which llama.cpp was not asked about"
            )
        return reasons


def language_question(catalog: Catalog, model: str) -> LanguageQuestion:
    """The question about a language model of the catalog. Raises FitcardError for one that llama.cpp does not run."""
    trace, labels = catalog.traces[model], catalog.quantization_file.for_language
    if trace.language is None or trace.language.llama_cpp is None:
        raise FitcardError(
            f"{model} is a language model whose GGUF fitcard cannot write yet, so nothing is known of its memory"
        )
    return LanguageQuestion(
        model, tuple(labels), lambda label: traced_model(trace, labels[label]), catalog.runtimes, trace.notes or ()
    )


def file_question(catalog: Catalog, path: Path) -> LanguageQuestion:
    """The question about the language model of a GGUF file, from its header alone. The file may be one of several parts, all
    of which are read.

    Raises FitcardError for a file that holds none, or a part that is missing.
    """
    headers = [read_gguf_header(part) for part in parts_of(path)]
    model, label = header_model(headers), label_of(headers[0].metadata)
    return LanguageQuestion(path.name, (label,), lambda _: model, catalog.runtimes)


def best_answer(catalog: Catalog, answers: Sequence[Answer]) -> Answer | None:
    """The quantization of a language model to pick on a GPU; None where none is usable.

    Of what fits, or else is tight, the one with the most bits, but for 16: nobody measured that these answer better than 8,
    and each token takes twice as long to read them.
    """
    labels = catalog.quantization_file.for_language
    usable = [answer for answer in answers if answer.verdict == "fits"]
    usable = usable or [answer for answer in answers if answer.verdict == "tight"]
    packed = [one for one in usable if one.quantization in labels and labels[one.quantization].weight_type not in PLAIN]
    return max(packed or usable, key=lambda one: one.memory.weights_bytes, default=None)


def _spoken(rate: TokenRate | None) -> SpeedAnswer | None:
    return rate and SpeedAnswer(rate.per_second, UNIT, rate.low, rate.high, "predicted", None, 1)
