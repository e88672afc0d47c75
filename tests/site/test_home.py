"""What the home page tells of the newest runs is what their records say, and what lists call devices is what the advisor calls them."""

from __future__ import annotations

from fitcard.advisor.hardware import device_names, gpu_of
from fitcard.catalog import Catalog
from fitcard.site.generator.pages.home_page import NEWEST, view


def test_the_newest_runs_are_told_as_they_were_recorded(sample: Catalog) -> None:
    good = [run for run in sample.runs if run.status == "ok"][: -NEWEST - 1 : -1]
    told = view(sample).newest
    assert [run.key for run in told] == [run.key for run in good]
    for row, run in zip(told, good, strict=True):
        fastest = max(run.speed, key=lambda speed: speed.per_second)
        assert (row.per_second, row.batch) == (fastest.per_second, fastest.batch)
        assert row.memory_bytes == next((one.total_bytes for one in run.memory if one.batch == fastest.batch), None)
        assert (row.model, row.component, row.quantization) == (run.model, run.component, run.quantization)
        assert row.device_name == run.machine.device_name


def test_devices_have_the_names_that_the_advisor_gives_them(sample: Catalog) -> None:
    devices = [*list(sample.gpus), *sorted({run.device for run in sample.run_index})]
    for _ in range(2):  # the second time from the cache
        assert device_names(sample, devices) == {device: gpu_of(sample, device).spec.name for device in devices}
