"""The answers: does it fit, on which GPUs, which models, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from fitcard.advisor.answer import Answer, MemoryAnswer, SpeedAnswer
from fitcard.advisor.choice import TIGHT_ABOVE, Verdict, best_label, refusal, verdict_of
from fitcard.advisor.device_runs import run_times
from fitcard.advisor.evidence import BestSpeed, Cited, Evidence, evidence_of
from fitcard.advisor.hardware import Hardware, gpus_by_memory, hardware_of
from fitcard.advisor.memory import Need, available_bytes, terms
from fitcard.advisor.predict import Predicted, anchored, predict, predict_from_runs
from fitcard.advisor.records import Rules, VariantRecords, rules_of
from fitcard.advisor.speed import Setting
from fitcard.catalog import Catalog
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.components import COMPONENTS, main_component
from fitcard.catalog.schema.gpu import Gpu
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.run import Memory, Run
from fitcard.catalog.schema.trace import Component, Trace
from fitcard.catalog.schema.workload import Mode, Setup, Variant, Workload

if TYPE_CHECKING:
    from fitcard.advisor.language_fit import LanguageQuestion

MOST_BATCH = 65536
USUAL_BATCH = 64
LEVELLED_OFF = 0.03
"""Published speeds hold for another batch where the predictions for the two differ by no more than this."""


def default_component(catalog: Catalog, model: str) -> Component:
    """The image encoder where there is one, since that is what most people run; else the first that there is."""
    return main_component(catalog.trace_index[model].components)


class ModelQuestion(NamedTuple):
    """What is asked about one component of a model, with all that answers rest on but the hardware. It knows no
    catalog."""

    model: str
    trace: Trace
    component: Component
    evidence: Evidence | None
    """What was measured or published of the model; None where only predictions are wanted."""
    rules: Rules
    mode: Mode = "eager"

    @property
    def labels(self) -> tuple[str, ...]:
        """The quantizations that there are for it."""
        return tuple(self.rules.quantizations)

    def records(self, label: str) -> VariantRecords:
        """The variant in a quantization."""
        return VariantRecords(self.trace, self.component, self.rules.quantizations[label])

    def predicted(self, label: str, hardware: Hardware, batch: int) -> Predicted | None:
        """The throughput that is expected, anchored to the variant's own run on that very device; None where nothing
        says anything of it."""
        own = self._own_speeds(label, hardware)
        return anchored(partial(self._unanchored, label, hardware), batch, own)

    def _own_speeds(self, label: str, hardware: Hardware) -> Sequence[tuple[int, float]]:
        """What the variant's newest run there reached, by batch."""
        if self.evidence is None:
            return ()
        if hardware.only_runs:
            timed = (hardware.runs or {}).get((self.component, label, self.mode), {}).get(self.model)
            return [(batch, per_second) for batch, per_second, _ in timed.speeds] if timed else ()
        run = self.evidence.run(self.component, label, Setup(hardware.gpu.id, self.mode))
        return [(speed.batch, speed.per_second) for speed in run.speed] if run else ()

    def _unanchored(self, label: str, hardware: Hardware, batch: int) -> Predicted | None:
        of, speed = self.records(label), self.rules.speed
        if not hardware.only_runs:
            return predict(of, hardware.gpu, Setting(self.mode, batch), self.rules, without=hardware.without)
        if hardware.runs is None or speed is None:
            return None
        seen = run_times(hardware.runs, self.component, label, self.mode, batch)
        return predict_from_runs(of, label, batch, seen, speed)

    def throughput(self, answer: Answer, hardware: Hardware) -> BestSpeed | None:
        """The highest throughput that was measured or published on a GPU, or else the one predicted for this answer's
        variant.

        Predicted for a batch of `USUAL_BATCH`, or the largest that fits, since that is where throughput has mostly
        levelled off.
        """
        fastest = self.evidence.fastest.get((self.component, answer.gpu)) if self.evidence else None
        if fastest or answer.max_batch == 0:
            return fastest
        batch = min(USUAL_BATCH, answer.max_batch)
        expected = self.predicted(answer.quantization, hardware, batch)
        if expected is None:
            return None
        return BestSpeed(
            expected.per_second, answer.quantization, "eager", batch, "predicted", None, expected.low, expected.high
        )

    def answer(self, label: str, hardware: Hardware, workload: Workload, *, with_speed: bool = True) -> Answer:
        """One variant on one GPU or device."""
        gpu, of, batch = hardware.gpu, self.records(label), workload.batch
        phase, quantization = of.phase, of.quantization
        setup = Setup(gpu.id, self.mode)
        run, refused = None, refusal(quantization, gpu, phase)
        if self.evidence:
            run = self.evidence.run(self.component, label, setup)
            unsupported = self.evidence.unsupported(self.component, label, setup)
            refused = refused or (unsupported.reason if unsupported else None)
        available = available_bytes(self.rules.runtimes, gpu)
        seen = run.batch_memory(batch) if run else None
        needed = terms(of, self.rules.runtimes, gpu.vendor, hardware.features)
        memory = _memory(needed.need(batch), seen, available)
        verdict: Verdict = "unsupported" if refused else verdict_of(memory.required_bytes, available)
        largest = 0 if refused else needed.max_batch(available, MOST_BATCH)
        if seen and not refused:  # what was seen to fit, or not to, is not contradicted by a prediction
            largest = min(largest, batch - 1) if verdict == "no" else max(largest, batch)
        speed, why = None, ""
        if with_speed and verdict in ("fits", "tight"):
            speed, why = self._speed(label, run, hardware, batch)
        return Answer(
            model=self.model,
            component=self.component,
            quantization=label,
            gpu=gpu.id,
            workload=Workload(batch, phase.image_size, phase.text_tokens, phase.image_width),
            verdict=verdict,
            evidence=memory.evidence,
            memory=memory,
            max_batch=largest,
            speed=speed,
            reasons=(
                *_reasons(verdict, memory, batch, gpu, quantization, refused, why if speed else ""),
                *(self.trace.notes or ()),
            ),
            engine=quantization.runtime,
        )

    def _speed(self, label: str, run: Run | None, hardware: Hardware, batch: int) -> tuple[SpeedAnswer | None, str]:
        """Measured at this batch, or else published where that holds, or else predicted; and what there is to say of
        it."""
        unit = COMPONENTS[self.component].unit
        if run and (measured := run.batch_speed(batch)):
            medians, plain = measured.medians_s(), self._unanchored(label, hardware, batch)
            low, high = batch / max(medians), batch / min(medians)
            return SpeedAnswer(
                measured.per_second, unit, low, high, "measured", run.key, batch
            ), plain.why if plain else ""
        expected, predicted = self.predicted(label, hardware, batch), None
        why = expected.why if expected else ""
        if expected:
            predicted = SpeedAnswer(expected.per_second, unit, expected.low, expected.high, "predicted", None, batch)
        setup = Setup(hardware.gpu.id, self.mode)
        cited = self.evidence.published.get((self.component, label, setup)) if self.evidence else None
        if cited is None:
            return predicted, why
        at = cited.speed.batch
        if at != batch and expected and not self._holds(cited, label, hardware, expected):
            text = f"published for batch {at}: {cited.speed.per_second:g} {unit} ({cited.url})"
            return predicted, f"{why}; {text}" if why else text
        speed = SpeedAnswer(cited.speed.per_second, unit, None, None, "published", cited.url, at)
        return speed, "" if at == batch else f"the speed was published for batch {at}"

    def _holds(self, cited: Cited, label: str, hardware: Hardware, expected: Predicted) -> bool:
        """Whether a speed published for another batch holds for that of a prediction: speed has levelled off by
        then."""
        then = self.predicted(label, hardware, cited.speed.batch)
        return not then or abs(expected.per_second / then.per_second - 1) <= LEVELLED_OFF


def question(
    catalog: Catalog,
    model: str,
    component: Component | None = None,
    *,
    mode: Mode = "eager",
    only_predicted: bool = False,
    rules: Rules | None = None,
    workload: Workload = Workload(),  # noqa: B008 - a value that cannot change
) -> ModelQuestion:
    """The question about a model of the catalog; `only_predicted` ignores every run and publication on the GPU asked
    for. So do sizes of images and texts in `workload` that are not those of the model's trace, as nothing was run at
    them.

    Raises FitcardError for a component that the model does not have, or sizes that it does not take.
    """
    trace = catalog.traces[model]
    component = component or main_component(trace.components())
    if component not in trace.components():
        raise FitcardError(f"{model} has no component {component} (it has: {', '.join(trace.components())})")
    phase = trace.phase(component)
    sizes = workload.image_size or phase.image_size, workload.text_tokens or phase.text_tokens
    if sizes != (phase.image_size, phase.text_tokens) or (workload.image_size and phase.image_width):
        from fitcard.advisor.adhoc import traced_at  # here, since what reads configurations takes longer than an answer

        trace, only_predicted = traced_at(catalog, model, phase, workload), True
    evidence = None if only_predicted else evidence_of(catalog, model)
    return ModelQuestion(model, trace, component, evidence, rules or rules_of(catalog), mode)


def fit(
    catalog: Catalog,
    variant: Variant,
    setup: Setup,
    workload: Workload = Workload(),  # noqa: B008 - a value that cannot change
    *,
    only_predicted: bool = False,
    with_speed: bool = True,
) -> Answer:
    """Whether a variant fits a GPU, with the sum in bytes, the largest batch, and the speed where known.

    All names are ids. `only_predicted` ignores every run and publication on that GPU. Raises FitcardError for a
    component that the model does not have, or a batch below 1.
    """
    (answer,) = fits(
        catalog,
        variant.model,
        [variant.quantization],
        setup,
        workload,
        component=variant.component,
        only_predicted=only_predicted,
        with_speed=with_speed,
    )
    return answer


def fits(
    catalog: Catalog,
    model: str,
    labels: Iterable[str],
    setup: Setup,
    workload: Workload = Workload(),  # noqa: B008 - a value that cannot change
    *,
    component: Component | None = None,
    only_predicted: bool = False,
    with_speed: bool = True,
) -> list[Answer]:
    """The same of one component in several quantizations, or in all that it can have where none is named."""
    workload.check()
    hardware = hardware_of(catalog, setup.device, only_predicted=only_predicted, with_speed=with_speed)
    asked = _asked(catalog, model, component, workload, setup.mode, only_predicted)
    if isinstance(asked, ModelQuestion) and asked.evidence is None:
        hardware = hardware._replace(runs=None)
    return [asked.answer(label, hardware, workload, with_speed=with_speed) for label in labels or asked.labels]


def _asked(
    catalog: Catalog,
    model: str,
    component: Component | None,
    workload: Workload,
    mode: Mode,
    only_predicted: bool,
    rules: Rules | None = None,
) -> ModelQuestion | LanguageQuestion:
    """The question about a model of whatever kind."""
    if (component or default_component(catalog, model)) == "language":
        from fitcard.advisor.language_fit import language_question  # here, since answers about encoders need none of it

        evidence = None if only_predicted else evidence_of(catalog, model)
        return language_question(model, catalog.traces[model], rules or rules_of(catalog), evidence)
    return question(catalog, model, component, mode=mode, only_predicted=only_predicted, rules=rules, workload=workload)


def gpus(
    catalog: Catalog,
    model: str,
    workload: Workload = Workload(),  # noqa: B008 - a value that cannot change
    *,
    quantizations: Sequence[str] = (),
    component: Component | None = None,
    mode: Mode = "eager",
    only_predicted: bool = False,
    with_speed: bool = True,
) -> Iterator[Answer]:
    """Every GPU of the catalog with every quantization, GPUs by memory, then by id."""
    workload.check()
    asked = _asked(catalog, model, component, workload, mode, only_predicted)
    for gpu in gpus_by_memory(catalog):
        hardware = hardware_of(catalog, gpu, only_predicted=only_predicted, with_speed=with_speed)
        for label in quantizations or asked.labels:
            yield asked.answer(label, hardware, workload, with_speed=with_speed)


def models(
    catalog: Catalog,
    setup: Setup,
    workload: Workload = Workload(),  # noqa: B008 - a value that cannot change
    *,
    quantizations: Sequence[str] = (),
    with_speed: bool = True,
    skipped: Callable[[str, str], None] = lambda model, reason: None,
) -> Iterator[Answer]:
    """Every model of the catalog, in every quantization, on one GPU. A size holds for the models that take images, or
    texts; one that does not take that size is skipped, with the reason."""
    hardware, rules = hardware_of(catalog, setup.device, with_speed=with_speed), rules_of(catalog)
    workload.check()
    for model in catalog.models:
        try:
            asked = _asked(catalog, model, None, _taken(catalog, model, workload), setup.mode, False, rules)
        except FitcardError as reason:
            skipped(model, str(reason))
            continue
        for label in quantizations or asked.labels:
            yield asked.answer(label, hardware, workload, with_speed=with_speed)


def _taken(catalog: Catalog, model: str, workload: Workload) -> Workload:
    """A workload without the sizes of what a model does not take."""
    component = default_component(catalog, model)
    if component == "language":
        return workload._replace(image_size=None, text_tokens=None)
    own = catalog.traces[model].phase(component)
    return workload._replace(
        image_size=own.image_size and workload.image_size, text_tokens=own.text_tokens and workload.text_tokens
    )


def best(answers: Sequence[Answer], catalog: Catalog) -> Answer | None:
    """The quantization to pick, from the answers about one component of a model on one GPU; None where none is
    usable."""
    if not answers:
        return None
    first = answers[0]
    verdicts = {answer.quantization: answer.verdict for answer in answers}
    if first.component == "language":
        from fitcard.advisor import language_fit  # here, as above

        label = language_fit.best_label(verdicts, catalog.labels_of("language"))
    else:
        gpu = hardware_of(catalog, first.gpu, with_speed=False).gpu
        label = best_label(catalog.traces[first.model], first.component, catalog.quantizations, gpu, verdicts)
    return next((answer for answer in answers if answer.quantization == label), None)


def _memory(predicted: Need, seen: Memory | None, available: int) -> MemoryAnswer:
    """The predicted terms, with the sum that was measured in place of theirs where there is one."""
    return MemoryAnswer(
        weights_bytes=predicted.weights_bytes,
        activations_bytes=predicted.activations_bytes,
        buffers_bytes=predicted.buffers_bytes,
        runtime_bytes=predicted.runtime_bytes,
        required_bytes=seen.total_bytes if seen else predicted.required_bytes,
        available_bytes=available,
        evidence="measured" if seen else "predicted",
    )


def _reasons(
    verdict: Verdict,
    memory: MemoryAnswer,
    batch: int,
    gpu: Gpu,
    quantization: Quantization,
    refused: str | None,
    why_speed: str,
) -> Iterator[str]:
    if refused:
        yield refused
        return
    gb = 1e9
    parts = f"{memory.weights_bytes / gb:.2f} weights, {memory.activations_bytes / gb:.2f} activations, {memory.buffers_bytes / gb:.2f} buffers, {memory.runtime_bytes / gb:.2f} runtime"
    seen = "took" if memory.evidence == "measured" else "needs"
    yield f"{seen} {memory.required_bytes / gb:.2f} GB at batch {batch} ({parts}, predicted); {memory.available_bytes / gb:.2f} of {gpu.spec.memory_bytes / gb:.2f} GB are free"
    if verdict == "tight":
        yield f"less than {1 - TIGHT_ABOVE:.0%} of the free memory would be left"
    if quantization.weight_type == "BF16" and gpu.supports("bf16") is False and gpu.supports("fp16"):
        yield "this card does not multiply BF16 natively: FP16 is faster on it"
    if why_speed:
        yield why_speed
