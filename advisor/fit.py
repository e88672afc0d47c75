"""The answers: does it fit, on which cards, which models, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fitcard.advisor.evidence import Known, fastest_known, newest_run, published_speed, seen_unsupported
from fitcard.advisor.memory import Need, available_bytes, terms, weights_of
from fitcard.advisor.predict import Predicted, predict
from fitcard.catalog import Catalog
from fitcard.catalog.errors import FitcardError, UnknownName
from fitcard.catalog.loader import HERE
from fitcard.catalog.schema.gpu import GIB, Gpu, GpuSpec, PublishedRates, Segment
from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.run import Machine, Memory, Mode, Run
from fitcard.catalog.schema.trace import ONNX_LOOP, Component, Phase
from fitcard.catalog.storage import cache
from fitcard.catalog.storage.hashing import code_digest, combined

Verdict = Literal["fits", "tight", "no", "unsupported"]
Evidence = Literal["measured", "published", "predicted"]
UNITS: dict[Component, str] = {"vision": "images/s", "text": "texts/s", "all": "pairs/s"}

TIGHT_ABOVE = 0.9
"""A need above this share of what is available is `tight`: the next driver or a larger window may not leave it."""
MOST_BATCH = 65536
USUAL_BATCH = 64
LEVELLED_OFF = 0.03
"""Published speeds hold for another batch where the predictions for the two differ by no more than this."""


class Workload(NamedTuple):
    """What goes in."""

    batch: int
    image_size: int | None
    text_tokens: int | None


class MemoryAnswer(NamedTuple):
    """The sum, in bytes. `evidence` is `measured` when `required_bytes` was seen on that very card."""

    weights_bytes: int
    activations_bytes: int
    buffers_bytes: int
    runtime_bytes: int
    required_bytes: int
    available_bytes: int
    evidence: Evidence


class SpeedAnswer(NamedTuple):
    """Throughput. `low` and `high` are the slowest and fastest process of a measured one, the 80 % interval of a predicted
    one, and null for a published one, whose authors state none."""

    per_second: float
    unit: str
    low: float | None
    high: float | None
    evidence: Evidence
    record: str | None
    """The key of the run, or the address of the publication; null for a prediction."""
    batch: int
    """The batch at which it was measured, or for which it is predicted."""


class Answer(NamedTuple):
    """One variant on one card."""

    model: str
    component: Component
    quantization: str
    gpu: str
    workload: Workload
    verdict: Verdict
    evidence: Evidence
    memory: MemoryAnswer
    max_batch: int
    """The largest batch that is not `no`; 0 when none is."""
    speed: SpeedAnswer | None
    reasons: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As it is written as JSON."""
        speed = self.speed and self.speed._asdict()
        return {**self._asdict(), "workload": self.workload._asdict(), "memory": self.memory._asdict(), "speed": speed}


@lru_cache(maxsize=1024)
def gpu_of(catalog: Catalog, card_id: str) -> Gpu:
    """A card of the catalog, or a device that only runs know, described by its newest run."""
    if card_id in catalog.gpus:
        return catalog.gpus[card_id]
    machine = _machine(catalog, card_id)
    if machine is None:
        raise UnknownName(f"no GPU is called {card_id!r}")
    memory = machine.device_memory_bytes or machine.memory_bytes
    segment: Segment = "cpu" if machine.device_vendor == "CPU" else "desktop"
    # All of it was checked with the run, and to have it checked again takes longer than all else that is asked of a device.
    spec = GpuSpec.model_construct(
        name=machine.device_name, segment=segment, memory_gib=memory / GIB, sources={"run": ("memory_gib",)},
        published_tflops=PublishedRates.model_construct(),
    )  # fmt: skip
    return Gpu.model_construct(
        id=card_id, vendor=machine.device_vendor, generation="", spec=spec, rates=None, sources={}, reviewed=None
    )


def _machine(catalog: Catalog, card_id: str) -> Machine | None:
    newest = _newest_by_device(catalog).get(card_id)
    return None if newest is None else catalog.runs[newest].machine


@lru_cache(maxsize=8)
def _newest_by_device(catalog: Catalog) -> dict[str, int]:
    """The place of the newest run on each device."""
    return {entry.device: at for at, entry in enumerate(catalog.run_index)}


def device_names(catalog: Catalog, devices: Iterable[str]) -> dict[str, str]:
    """The short names of cards, and those of devices that only runs know, which are kept, so that no run need be read for them."""
    found = {device: catalog.gpu_index[device].spec_name if device in catalog.gpus else "" for device in devices}
    newest = {device: _newest_by_device(catalog)[device] for device, name in found.items() if not name}
    code = code_digest(HERE, Path(__file__).parent)
    keys = {device: combined(("device name", code, catalog.run_index[at].key)) for device, at in newest.items()}
    kept = cache.read(keys.values())
    found |= {device: kept[key].decode() for device, key in keys.items() if key in kept}
    made = {device: catalog.runs[at].machine.device_name for device, at in newest.items() if keys[device] not in kept}
    if made:
        cache.write({keys[device]: name.encode() for device, name in made.items()})
    return found | made


def features_of(catalog: Catalog, card_id: str) -> frozenset[str] | None:
    """The instruction sets of a processor that runs know; None for a card."""
    machine = _machine(catalog, card_id) if card_id not in catalog.gpus else None
    return frozenset(machine.cpu_features) if machine and machine.device_vendor == "CPU" else None


def default_component(catalog: Catalog, model: str) -> Component:
    """The image tower where there is one, since that is what most people run; else the first that there is."""
    components = catalog.trace_index[model].components
    return "vision" if "vision" in components else components[0]


def fit(
    catalog: Catalog, model: str, card: str, quantization: str, *, component: Component | None = None, batch: int = 1,
    mode: Mode = "eager", only_predicted: bool = False, with_speed: bool = True,
) -> Answer:  # fmt: skip
    """Whether a variant fits a card at a batch, with the sum in bytes, the largest batch, and the speed where known.

    `model`, `card` and `quantization` are ids. `only_predicted` ignores every run and publication on that card. Raises FitcardError
    for a component that the model does not have, or a batch below 1.
    """
    component = component or default_component(catalog, model)
    there = catalog.traces[model].components()
    if component not in there:
        raise FitcardError(f"{model} has no component {component} (it has: {', '.join(there)})")
    if batch < 1:
        raise FitcardError(f"a batch holds at least one item (got {batch})")
    label, found = catalog.quantizations[quantization], gpu_of(catalog, card)
    available = available_bytes(catalog, found)
    run = None if only_predicted else newest_run(catalog, model, component, quantization, card, mode)
    seen = run.batch_memory(batch) if run else None
    refused = refusal(label, found, catalog.traces[model].phase(component))
    if not refused and not only_predicted:
        unsupported = seen_unsupported(catalog, model, component, quantization, card, mode)
        refused = unsupported.reason if unsupported else None

    needed = terms(catalog, model, component, quantization, found.vendor, features_of(catalog, card))
    memory = _memory(needed.need(batch), seen, available)
    verdict: Verdict = "unsupported" if refused else verdict_of(memory.required_bytes, available)
    largest = 0 if refused else needed.max_batch(available, MOST_BATCH)
    if seen and not refused:  # what was seen to fit, or not to, is not contradicted by a prediction
        largest = min(largest, batch - 1) if verdict == "no" else max(largest, batch)
    speed, why = None, ""
    if with_speed and verdict in ("fits", "tight"):
        expected = predict(catalog, model, component, quantization, found, mode, batch, only_card=only_predicted)
        why = expected.why if expected else ""
        speed = _speed(run, expected, UNITS[component], batch)
        if not only_predicted and not (speed and speed.evidence == "measured"):
            speed, why = _published(
                catalog, (model, component, quantization, card, mode), found, expected, speed, why, batch
            )
    phase = catalog.traces[model].phase(component)
    return Answer(
        model=model, component=component, quantization=quantization, gpu=card,
        workload=Workload(batch=batch, image_size=phase.image_size, text_tokens=phase.text_tokens),
        verdict=verdict, evidence=memory.evidence, memory=memory, max_batch=largest, speed=speed,
        reasons=tuple(_reasons(verdict, memory, batch, found, label, refused, why if speed else "")),
    )  # fmt: skip


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


def gpus(
    catalog: Catalog, model: str, *, quantizations: Sequence[str] = (), component: Component | None = None, batch: int = 1,
    mode: Mode = "eager", only_predicted: bool = False, with_speed: bool = True,
) -> Iterator[Answer]:  # fmt: skip
    """Every card of the catalog with every quantization, cards by memory, then by id."""
    labels = quantizations or tuple(catalog.quantizations)
    for card in gpus_by_memory(catalog):
        for label in labels:
            yield fit(
                catalog, model, card, label, component=component, batch=batch, mode=mode, only_predicted=only_predicted,
                with_speed=with_speed,
            )  # fmt: skip


def models(
    catalog: Catalog, card: str, *, quantizations: Sequence[str] = (), batch: int = 1, mode: Mode = "eager",
    with_speed: bool = True,
) -> Iterator[Answer]:  # fmt: skip
    """Every model of the catalog, in every quantization, on one card."""
    for model in catalog.models:
        for label in quantizations or tuple(catalog.quantizations):
            yield fit(catalog, model, card, label, batch=batch, mode=mode, with_speed=with_speed)


def gpus_by_memory(catalog: Catalog) -> list[str]:
    """The ids of all cards, the smallest memory first."""
    return sorted(catalog.gpus, key=lambda key: (catalog.gpu_index[key].memory_gib, key))


def best(answers: Sequence[Answer], catalog: Catalog) -> Answer | None:
    """The quantization to pick on a card, from its answers.

    The rule, of what fits (or else is tight): 16 bit first where the card multiplies it natively, since more bits buy no
    accuracy that anybody measured here; FP32 where it does not; then the most bits per weight, as they really are.
    """
    usable = [a for a in answers if a.verdict == "fits"] or [a for a in answers if a.verdict == "tight"]

    def place(answer: Answer) -> tuple[int, float, int]:
        return rank(catalog, answer.model, answer.component, answer.quantization, gpu_of(catalog, answer.gpu))

    return min(usable, key=place, default=None)


def rank(catalog: Catalog, model: str, component: Component, label: str, card: Gpu) -> tuple[int, float, int]:
    """The place of a label in the order of `best`, the first first."""
    quantization = catalog.quantizations[label]
    group = 2
    if quantization.plain:
        kind = quantization.multiplies_in
        group = 1 if kind == "fp32" else 3 if card.supports(kind) is False else 0
    bits = weights_of(catalog, model, component, label, 16).bits_per_weight
    return group, -bits if group == 2 else 0.0, list(catalog.quantizations).index(label)


def best_label(
    catalog: Catalog, model: str, component: Component, card: Gpu, verdicts: Mapping[str, Verdict]
) -> str | None:
    """The label to pick by the rule of `best`, from the verdict of each; None where none is usable."""
    usable = [label for label, verdict in verdicts.items() if verdict == "fits"]
    usable = usable or [label for label, verdict in verdicts.items() if verdict == "tight"]
    return min(usable, key=lambda label: rank(catalog, model, component, label, card), default=None)


def verdict_of(required: int, available: int) -> Verdict:
    if required > available:
        return "no"
    return "tight" if required > TIGHT_ABOVE * available else "fits"


def throughput(catalog: Catalog, answer: Answer) -> Known | None:
    """The highest throughput that is known of a model on a card, or else the one predicted for this answer's variant.

    Predicted for a batch of `USUAL_BATCH`, or the largest that fits, since that is where throughput has mostly levelled off.
    """
    known = fastest_known(catalog, answer.model, answer.component, answer.gpu)
    if known or answer.max_batch == 0:
        return known
    batch = min(USUAL_BATCH, answer.max_batch)
    card = gpu_of(catalog, answer.gpu)
    found = predict(catalog, answer.model, answer.component, answer.quantization, card, "eager", batch, only_card=False)
    if found is None:
        return None
    return Known(found.per_second, answer.quantization, "eager", batch, "predicted", None, found.low, found.high)


def _speed(run: Run | None, expected: Predicted | None, unit: str, batch: int) -> SpeedAnswer | None:
    """Measured at this batch, or else predicted, or else not known."""
    measured = run.batch_speed(batch) if run else None
    if run and measured:
        medians = measured.medians_s()
        return SpeedAnswer(
            per_second=measured.per_second, unit=unit, low=batch / max(medians), high=batch / min(medians),
            evidence="measured", record=run.key, batch=batch,
        )  # fmt: skip
    if expected is None:
        return None
    return SpeedAnswer(
        per_second=expected.per_second, unit=unit, low=expected.low, high=expected.high, evidence="predicted", record=None,
        batch=batch,
    )  # fmt: skip


def _published(
    catalog: Catalog,
    variant: tuple[str, Component, str, str, Mode],
    card: Gpu,
    expected: Predicted | None,
    otherwise: SpeedAnswer | None,
    why: str,
    batch: int,
) -> tuple[SpeedAnswer | None, str]:
    """The best that was published, where it holds at this batch: it is that of the figure, or speed has levelled off by then."""
    model, component, quantization, _, mode = variant
    cited = published_speed(catalog, model, component, quantization, card.id, mode)
    if cited is None:
        return otherwise, why
    at = cited.speed.batch
    then = predict(catalog, model, component, quantization, card, mode, at, only_card=False)
    if at != batch and expected and then and abs(expected.per_second / then.per_second - 1) > LEVELLED_OFF:
        told = f"published for batch {at}: {cited.speed.per_second:g} {UNITS[component]} ({cited.url})"
        return otherwise, f"{why}; {told}" if why else told
    speed = SpeedAnswer(
        per_second=cited.speed.per_second, unit=UNITS[component], low=None, high=None, evidence="published",
        record=cited.url, batch=at,
    )  # fmt: skip
    return speed, "" if at == batch else f"the speed was published for batch {at}"


def refusal(label: Quantization, card: Gpu, phase: Phase | None = None) -> str | None:
    """Why the card cannot serve the label, with `phase` that of a model's component, or None."""
    requires = label.requires
    if requires.vendors and card.vendor not in requires.vendors:
        return f"{label.name} needs {' or '.join(requires.vendors)}: {requires.why}"
    capability = card.spec.compute_capability
    if requires.nvidia_compute_capability and capability and float(capability) < requires.nvidia_compute_capability:
        return f"{label.name} needs compute capability {requires.nvidia_compute_capability}, this card has {capability}: {requires.why}"
    if label.engine.exports_graph and phase and phase.one_by_one:
        return ONNX_LOOP
    return None


def _reasons(
    verdict: Verdict,
    memory: MemoryAnswer,
    batch: int,
    card: Gpu,
    label: Quantization,
    refused: str | None,
    why_speed: str,
) -> Iterator[str]:
    if refused:
        yield refused
        return
    gb = 1e9
    parts = f"{memory.weights_bytes / gb:.2f} weights, {memory.activations_bytes / gb:.2f} activations, {memory.buffers_bytes / gb:.2f} buffers, {memory.runtime_bytes / gb:.2f} runtime"
    seen = "took" if memory.evidence == "measured" else "needs"
    yield f"{seen} {memory.required_bytes / gb:.2f} GB at batch {batch} ({parts}, predicted); {memory.available_bytes / gb:.2f} of {card.spec.memory_bytes / gb:.2f} GB are free"
    if verdict == "tight":
        yield f"less than {1 - TIGHT_ABOVE:.0%} of the free memory would be left"
    if label.weight_type == "BF16" and card.supports("bf16") is False and card.supports("fp16"):
        yield "this card does not multiply BF16 natively: FP16 is faster on it"
    if why_speed:
        yield why_speed
