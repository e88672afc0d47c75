"""The answers about a language model: does it fit, how long a context, how fast it reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fitcard.advisor.answer import Answer, MemoryAnswer, SpeedAnswer
from fitcard.advisor.choice import TIGHT_ABOVE, Verdict, verdict_of
from fitcard.advisor.evidence import Evidence
from fitcard.advisor.hardware import Hardware
from fitcard.advisor.language_memory import DEFAULT, LanguageNeed, completed, longest_context, need
from fitcard.advisor.language_model import LanguageModel, header_model, traced_model
from fitcard.advisor.language_speed import TokenRate, decode_rate, prefill_rate
from fitcard.advisor.memory import available_bytes
from fitcard.advisor.records import Rules
from fitcard.catalog import Catalog
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.gguf_header import read_gguf_header
from fitcard.catalog.gguf_plan import label_of, parts_of
from fitcard.catalog.schema.generation import TokenTimes
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.quantization import LLAMA_CPP, Quantization
from fitcard.catalog.schema.runtimes import Runtimes
from fitcard.catalog.schema.trace import Trace
from fitcard.catalog.schema.workload import Setup, Workload

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
    evidence: Evidence | None = None
    """What was measured of the model; None where only predictions are wanted."""
    notes: tuple[str, ...] = ()

    def answer(self, label: str, hardware: Hardware, workload: Workload, *, with_speed: bool = True) -> Answer:
        """One variant on one GPU."""
        gpu, model = hardware.gpu, self.variant(label)
        workload = completed(workload, model.longest_context)
        needed = need(model, self.runtimes, gpu, workload)
        available = available_bytes(self.runtimes, gpu)
        verdict: Verdict = verdict_of(needed.required_bytes, available)
        if (workload.parallel or 1) > MOST_SEQUENCES:
            verdict = "unsupported"
        longest = longest_context(model, self.runtimes, gpu, workload, available)
        writes = reads = None
        if with_speed and verdict in ("fits", "tight"):
            writes = self._writes(label, gpu, workload)
            reads = self._reads(label, gpu, workload)
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
            speed=writes,
            reasons=(*self._reasons(model, hardware, workload, needed, available, verdict, longest), *self.notes),
            engine=LLAMA_CPP,
            max_context=longest,
            prefill=reads,
            time_to_first_token_s=first,
        )

    def _writes(self, label: str, gpu: Gpu, workload: Workload) -> SpeedAnswer | None:
        """How fast it writes with the context full: measured there, or else predicted and corrected by what was measured at
        the nearest depth."""
        model, speed = self.variant(label), self.runtimes.token_speed.get(gpu.vendor)
        depth = workload.context_tokens or 1
        expected = decode_rate(model, gpu, speed, workload, depth)
        seen, key = self._seen(label, gpu, workload, "decode")
        near = min(seen, key=lambda times: abs(times.depth - depth), default=None)
        if near is None or near.depth == depth:
            return _measured(near, key) if near else _spoken(expected)
        return _spoken(_corrected(expected, near, decode_rate(model, gpu, speed, workload, near.depth)))

    def _reads(self, label: str, gpu: Gpu, workload: Workload) -> SpeedAnswer | None:
        """How fast it reads a prompt, in the same way."""
        model, speed = self.variant(label), self.runtimes.token_speed.get(gpu.vendor)
        tokens = workload.prompt_tokens or 1
        expected = prefill_rate(model, gpu, speed, tokens)
        seen, key = self._seen(label, gpu, workload, "prefill")
        near = min(seen, key=lambda times: abs(times.tokens - tokens), default=None)
        if near is None or near.tokens == tokens:
            return _measured(near, key) if near else _spoken(expected)
        return _spoken(_corrected(expected, near, prefill_rate(model, gpu, speed, near.tokens)))

    def _seen(self, label: str, gpu: Gpu, workload: Workload, phase: str) -> tuple[list[TokenTimes], str]:
        """What the newest run there timed of one phase, and its key; nothing for a setting that no run has."""
        usual = (workload.parallel, workload.cache_type, workload.ubatch) == (1, DEFAULT.cache_type, DEFAULT.ubatch)
        run = self.evidence.run("language", label, Setup(gpu.id)) if self.evidence and usual else None
        if run is None or run.generation is None:
            return [], ""
        return [times for times in run.generation.times if times.phase == phase], run.key

    def verdicts(self, gpu: Gpu, workload: Workload) -> dict[str, tuple[Verdict, int]]:
        """The verdict of each quantization with the bytes that it needs: an answer without the rest of it."""
        rows: dict[str, tuple[Verdict, int]] = {}
        available = available_bytes(self.runtimes, gpu)
        for label in self.labels:
            model = self.variant(label)
            required = need(model, self.runtimes, gpu, completed(workload, model.longest_context)).required_bytes
            rows[label] = verdict_of(required, available), required
        return rows

    def rate(self, label: str, gpu: Gpu, sequences: int) -> TokenRate | None:
        """How fast so many sequences are written at once, all together, with the usual context full."""
        model = self.variant(label)
        workload = completed(Workload(parallel=sequences), model.longest_context)
        speed = self.runtimes.token_speed.get(gpu.vendor)
        return decode_rate(model, gpu, speed, workload, workload.context_tokens or 1)

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
        if verdict == "unsupported":
            return [f"llama.cpp works on at most {MOST_SEQUENCES} sequences at once"]
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


def language_question(model: str, trace: Trace, rules: Rules, evidence: Evidence | None = None) -> LanguageQuestion:
    """The question about a language model. Raises FitcardError for one that llama.cpp was not asked about."""
    if trace.language is None or trace.language.llama_cpp is None:
        raise FitcardError(f"{model} is a language model that llama.cpp was not asked about: trace it again")
    labels = rules.language
    return LanguageQuestion(
        model,
        tuple(labels),
        lambda label: traced_model(trace, labels[label]),
        rules.runtimes,
        evidence,
        trace.notes or (),
    )


def file_question(catalog: Catalog, path: Path) -> LanguageQuestion:
    """The question about the language model of a GGUF file, from its header alone. The file may be one of several parts, all
    of which are read.

    Raises FitcardError for a file that holds none, or a part that is missing.
    """
    headers = [read_gguf_header(part) for part in parts_of(path)]
    model, label = header_model(headers), label_of(headers[0].metadata)
    return LanguageQuestion(path.name, (label,), lambda _: model, catalog.runtimes)


def best_label(verdicts: Mapping[str, Verdict], labels: Mapping[str, Quantization]) -> str | None:
    """The quantization of a language model to pick, from the verdict of each; None where none is usable.

    Of what fits, or else is tight, the one with the most bits, but for 16: nobody measured that these answer better than 8,
    and each token takes twice as long to read them.
    """
    usable = [label for label, verdict in verdicts.items() if verdict == "fits"]
    usable = usable or [label for label, verdict in verdicts.items() if verdict == "tight"]
    packed = [label for label in usable if label in labels and not labels[label].plain]
    return next(iter(packed or usable), None)  # the labels come in this order


def _measured(times: TokenTimes, key: str) -> SpeedAnswer:
    return SpeedAnswer(times.per_second, UNIT, min(times.rates), max(times.rates), "measured", key, 1)


def _corrected(expected: TokenRate | None, near: TokenTimes, there: TokenRate | None) -> TokenRate | None:
    """A prediction times the ratio of measured to predicted at the nearest point."""
    if expected is None or there is None:
        return None
    ratio = near.per_second / there.per_second
    return TokenRate(*(rate * ratio for rate in expected))


def _spoken(rate: TokenRate | None) -> SpeedAnswer | None:
    return rate and SpeedAnswer(rate.per_second, UNIT, rate.low, rate.high, "predicted", None, 1)
