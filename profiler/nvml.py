"""NVIDIA's own sensors, through NVML (package nvidia-ml-py): energy, clocks, temperature, throttling, driver, power
limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pynvml

_REASONS = {
    "nvmlClocksEventReasonSwPowerCap": "power cap",
    "nvmlClocksEventReasonHwSlowdown": "hardware slowdown",
    "nvmlClocksEventReasonSwThermalSlowdown": "thermal, by software",
    "nvmlClocksThrottleReasonHwThermalSlowdown": "thermal, by hardware",
    "nvmlClocksThrottleReasonHwPowerBrakeSlowdown": "power brake",
}


class Sensors:
    """The sensors of one GPU, read between samples so that nothing timed waits for them."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    def to_step(self, work: Callable[[], float]) -> int:
        """Work until the energy counter moves, which it does in steps, and give how often. It gives up after a
        second."""
        before, until, times = self._energy(), time.perf_counter() + 1, 0
        while self._energy() == before and time.perf_counter() < until:
            work()
            times += 1
        return times

    def _energy(self) -> int:
        return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(self.handle))

    def start(self) -> None:
        """Begin a stretch of work."""
        self.began, self.energy = time.perf_counter(), self._energy()
        self.clocks: list[int] = []
        self.temperatures: list[int] = []
        self.reasons: set[str] = set()

    def sample(self) -> None:
        """Note clocks, temperature and throttling."""
        self.clocks.append(pynvml.nvmlDeviceGetClockInfo(self.handle, pynvml.NVML_CLOCK_SM))
        self.temperatures.append(pynvml.nvmlDeviceGetTemperature(self.handle, pynvml.NVML_TEMPERATURE_GPU))
        mask = pynvml.nvmlDeviceGetCurrentClocksEventReasons(self.handle)
        self.reasons |= {name for key, name in _REASONS.items() if mask & getattr(pynvml, key, 0)}

    def stop(self, items: int) -> dict[str, Any] | None:
        """The stretch as fields of a record; None where it was too short for the counter."""
        seconds = time.perf_counter() - self.began
        joules = (self._energy() - self.energy) / 1000
        if seconds < 0.2 or joules <= 0:
            return None
        clocks = sorted(self.clocks)
        return {
            "joules_per_item": joules / items, "watts": joules / seconds, "clock_mhz": clocks[len(clocks) // 2],
            "temperature_c": max(self.temperatures), "throttled": sorted(self.reasons),
        }  # fmt: skip


def sensors() -> Sensors | None:
    """The sensors of the GPU that torch uses, or None where one of them is missing (the energy counter before
    Volta)."""
    handle = _handle()
    if handle is None:
        return None
    sensors = Sensors(handle)
    try:
        sensors.start()
        sensors.sample()
    except pynvml.NVMLError:
        return None
    return sensors


def driver_and_power_limit() -> tuple[str | None, float | None]:
    """The driver's version and the GPU's power limit in watts, as far as they can be read."""
    handle = _handle()
    if handle is None:
        return None, None
    try:
        limit: float | None = pynvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000
    except pynvml.NVMLError:
        limit = None
    return str(pynvml.nvmlSystemGetDriverVersion()), limit


def process_bytes(pid: int) -> int | None:
    """What a process takes of the GPU, its context included, as the driver counts it; None where it does not say."""
    handle = _handle()
    if handle is None:
        return None
    try:
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:  # not permitted, or no such thing on this kind of GPU
        return None
    for process in processes:
        if process.pid == pid and process.usedGpuMemory is not None:
            return int(process.usedGpuMemory)
    return None


def _handle() -> Any:
    """NVML's handle of the GPU that torch calls device 0, found by its UUID, which CUDA_VISIBLE_DEVICES does not
    renumber."""
    import torch

    if not torch.cuda.is_available() or torch.version.hip:
        return None
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(0).uuid}")
    except pynvml.NVMLError:
        return None
