"""A card is recognised by its very name and memory, and never taken for one that resembles it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from fitcard.catalog import Catalog
from fitcard.catalog.host import cpu_cores, cpu_name
from fitcard.profiler import case, nvml
from fitcard.profiler.devices import Device, find_device, machine
from fitcard.profiler.fidelity import Reference, fidelity
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("name", "gib", "expected"),
    [
        ("NVIDIA GeForce RTX 4090", 23.5, "rtx-4090"),
        ("NVIDIA GeForce RTX 3080", 9.8, "rtx-3080"),
        ("NVIDIA GeForce RTX 3080", 11.8, "rtx-3080-12gb"),
        ("NVIDIA GeForce RTX 4060 Ti", 15.6, "rtx-4060-ti-16gb"),
        ("NVIDIA GeForce RTX 4060 Ti", 7.8, "rtx-4060-ti-8gb"),
        ("NVIDIA GeForce RTX 4060 Laptop GPU", 7.9, "rtx-4060-laptop"),
        ("NVIDIA H200", 139.8, "h200-sxm"),
        ("NVIDIA H100 80GB HBM3", 79.1, "h100-sxm"),
        ("NVIDIA A100 80GB PCIe", 79.1, "a100-80gb-pcie"),
        (
            "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
            94.9,
            "rtx-pro-6000-blackwell",
        ),
        ("AMD Radeon RX 7900 XTX", 24.0, "rx-7900-xtx"),
        ("Tesla T4", 14.6, "t4"),
    ],
)
def test_names_that_drivers_give(
    name: str, gib: float, expected: str, real: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case, "device_name", lambda device: name)
    monkeypatch.setattr(case, "device_memory_bytes", lambda device: int(gib * 2**30))
    assert case.device_id(real, Device("cuda", "NVIDIA")) == expected


def test_this_machine() -> None:
    device = find_device("cpu")
    here = machine(device, "cpu-here")
    assert here.cpu == cpu_name()
    assert here.cpu_cores == cpu_cores() >= 1
    assert here.memory_bytes > 2**30
    assert here.device_vendor == "CPU"
    assert {"python", "torch", "transformers"} <= set(here.libraries)


def test_no_sensors_where_there_is_no_nvidia_card() -> None:
    if torch.cuda.is_available():
        found = nvml.sensors()
        assert found is not None
        found.start()
        torch.ones(4096, 4096, device="cuda").pow(2).sum().item()
        found.sample()
        assert found.clocks[0] > 0
    else:
        assert nvml.sensors() is None
        assert nvml.driver_and_power_limit() == (None, None)
        assert nvml.process_bytes(1) is None


def test_embeddings_that_are_not_finite_are_left_out_and_counted() -> None:
    nan = float("nan")
    truth = Reference([[1.0, 0.0]] * 4, [[1.0, 0.0]] * 4, [[1.0, 0.0], [0.0, 1.0]])
    found = fidelity([[1.0, 0.0], [nan, 1.0], [1.0, 0.0], [0.0, 1.0]], truth)
    assert found is not None
    assert (found.inputs, found.nonfinite, found.cosine_min, found.floor) == (4, 1, 0.0, 1.0)
    assert found.cosine_mean == pytest.approx(2 / 3)
    assert (found.top1_agreement, found.top1_candidates) == (0.5, 2)
    nothing = fidelity([[nan, nan]] * 4, truth)
    assert nothing is not None
    assert (nothing.nonfinite, nothing.cosine_mean, nothing.top1_agreement) == (4, None, 0.0)
    assert fidelity([[1.0, 0.0]] * 4, Reference([[nan, 0.0]] * 4, [[nan, 0.0]] * 4, None)) is None


def test_one_tower_is_compared_with_its_other_inputs() -> None:
    """The nearest of the others, never itself: the third turned round chooses another neighbour."""
    truth = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]
    found = fidelity([[1.0, 0.0], [0.9, 0.1], [1.0, 0.0], [0.1, 0.9]], Reference(truth, truth, None))
    assert found is not None
    assert (found.top1_agreement, found.top1_candidates) == (0.75, 3)


def test_one_process_at_a_time_has_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process waits for its turn, and gets it when the one before it is killed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    holder = (
        "import sys, time\nfrom fitcard.profiler.devices import Device\n"
        "with Device('mps', 'Apple').turn():\n    print('mine', flush=True)\n    time.sleep(60)\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", holder], cwd=ROOT, env=environment, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"mine\n"
        mine = threading.Event()

        def take() -> None:
            with Device("mps", "Apple").turn():
                mine.set()

        second = threading.Thread(target=take)
        second.start()
        assert not mine.wait(0.5)
        first.kill()
        assert mine.wait(30)
        second.join()
