"""Questions to the advisor in one line, for tests."""

from __future__ import annotations

from dataclasses import replace

from fitcard.advisor import fit, run_band
from fitcard.advisor.answer import Answer
from fitcard.advisor.memory import Need, terms
from fitcard.advisor.rates import fit_sustained, measured_gpus
from fitcard.advisor.records import records_of
from fitcard.advisor.speed import Setting, Work, number_type, speeds_of, work
from fitcard.catalog import Catalog
from fitcard.catalog.schema.run import Run
from fitcard.catalog.schema.trace import Component
from fitcard.catalog.schema.waivers import Excepted
from fitcard.catalog.schema.workload import Mode, Setup, Variant, Workload


def ask(
    catalog: Catalog,
    model: str,
    gpu: str,
    label: str,
    *,
    component: Component | None = None,
    batch: int = 1,
    mode: Mode = "eager",
    only_predicted: bool = False,
    with_speed: bool = True,
) -> Answer:
    """`fit` of the main component, unless another is named."""
    variant = Variant(model, component or fit.default_component(catalog, model), label)
    return fit.fit(
        catalog, variant, Setup(gpu, mode), Workload(batch), only_predicted=only_predicted, with_speed=with_speed
    )


def believed(catalog: Catalog, *runs: Run) -> Catalog:
    """The catalog with these runs and no other, each signed off: invented ones are far outside the band of any real one."""
    files = {run.key: f"runs/{run.machine.device}/{run.model}.yaml" for run in runs}
    signed = [Excepted(linter=run_band.NAME, file=files[key], field=f"{key}.speed", why="It is made.") for key in files]
    return replace(catalog, runs=runs, exceptions=tuple(signed))


def need(
    catalog: Catalog,
    model: str,
    component: Component,
    label: str,
    batch: int,
    vendor: str,
    features: frozenset[str] | None = None,
) -> Need:
    """The sum at a batch."""
    of = records_of(catalog, Variant(model, component, label))
    return terms(of, catalog.runtimes, vendor, features).need(batch)


def work_of(catalog: Catalog, model: str, gpu: str, label: str, setting: Setting) -> Work:
    """The work of a pass of the image encoder, by rates fitted on all that was measured."""
    of, card = records_of(catalog, Variant(model, "vision", label)), catalog.gpus[gpu]
    laws = fit_sustained(catalog.matmul, measured_gpus(catalog))
    passed = work(of, setting, card, speeds_of(card, number_type(of.quantization, setting.mode), catalog.matmul, laws))
    assert passed is not None
    return passed
