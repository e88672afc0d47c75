"""This machine's devices, by what the system's tools print: each case is such an output, under tests/cases."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from fitcard.advisor import detect as detecting
from fitcard.advisor.detect import Detected, MainMemory, detect, with_free_memory
from fitcard.catalog import Catalog
from tests.conftest import Cli

CASES = Path(__file__).parents[1] / "cases"
MIB, GIB = 2**20, 2**30


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with 62 GiB of main memory and no GPU."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(detecting, "DRM", tmp_path)
    monkeypatch.setattr(detecting, "WSL_NVIDIA_SMI", str(tmp_path / "wsl"))
    monkeypatch.setattr(detecting, "BOARD", tmp_path / "model")
    monkeypatch.setattr(detecting, "_main_memory", lambda: MainMemory(62 * GIB, 50 * GIB))


def nvidia(case: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> list[Detected]:
    """The GPUs where nvidia-smi prints so."""
    monkeypatch.setenv("PATH", f"{CASES / 'nvidia-smi' / case}:/usr/bin:/bin")
    return [device for device in detect(catalog) if device.vendor != "CPU"]


def sysfs(case: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> list[Detected]:
    """The GPUs where /sys/class/drm holds these files."""
    monkeypatch.setattr(detecting, "DRM", CASES / case)
    return [device for device in detect(catalog) if device.vendor != "CPU"]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("five-a4000", [("NVIDIA RTX A4000", 5, 16376, 16200, "rtx-a4000")]),
        ("two-kinds", [("NVIDIA GeForce RTX 4090", 1, 24564, 22000, "rtx-4090"), ("NVIDIA GeForce RTX 3060", 1, 12288, 12288, "rtx-3060")]),
        ("gb10", [("NVIDIA GB10", 1, 62 * 1024, 50 * 1024, "dgx-spark")]),
        ("thor", [("NVIDIA Thor", 1, 62 * 1024, 50 * 1024, "jetson-t5000")]),
        ("orin", [("Orin (nvgpu)", 1, 62 * 1024, 50 * 1024, "jetson-agx-orin-64gb")]),
        ("mig-no-permission", [("NVIDIA A100-SXM4-80GB", 1, None, None, "a100-80gb-sxm")]),
        ("unknown-error", [("NVIDIA GeForce RTX 3090", 1, 24576, None, "rtx-3090")]),
        ("not-supported", [("GRID T4-16Q", 1, None, None, None)]),
        ("ecc", [("Tesla T4", 1, 15360, 14900, "t4"), ("NVIDIA A40", 1, 46068, 45500, "a40")]),
        ("grace-hopper", [("NVIDIA GH200 480GB", 1, 97871, 97000, "gh200-96gb")]),
        ("laptop", [("NVIDIA GeForce RTX 4060 Laptop GPU", 1, 8188, 8188, "rtx-4060-laptop")]),
        ("vgpu", [("NVIDIA A40-12Q", 1, 12288, 11500, None)]),
        ("mig-in-a-container", [("NVIDIA H100 80GB HBM3 MIG 2g.20gb", 1, None, None, None)]),
        ("eight-h100", [("NVIDIA H100 80GB HBM3", 8, 81559, 79000, "h100-sxm")]),
        ("requires-reset", [("NVIDIA A100-SXM4-40GB", 1, None, None, "a100-40gb-sxm"), ("NVIDIA A100-SXM4-40GB", 1, 40960, 40300, "a100-40gb-sxm")]),
        ("mig-slices", [
            ("NVIDIA A100-SXM4-80GB MIG 3g.40gb", 1, None, None, None), ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", 2, None, None, None),
            ("NVIDIA A100-SXM4-80GB", 1, 81920, 81050, "a100-80gb-sxm"),
        ]),
    ],
)  # fmt: skip
def test_what_nvidia_smi_prints(
    case: str, expected: list[tuple[object, ...]], real: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal GPUs together, main memory only for GPUs without their own, no figure where none is stated, free at most all."""
    devices = nvidia(case, real, monkeypatch)
    in_mib = [
        (d.name, d.count, *(None if size is None else size // MIB for size in (d.memory_bytes, d.free_bytes)), d.gpu)
        for d in devices
    ]
    assert in_mib == expected
    assert [device.note is None for device in devices] == [device.free_bytes is not None for device in devices]


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no-driver", "nvidia-smi failed: NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."),
        ("no-devices", "nvidia-smi failed: No devices were found"),
        ("no-library", "nvidia-smi failed: NVIDIA-SMI couldn't find libnvidia-ml.so library in your system."),
        ("version-mismatch", "nvidia-smi failed: Failed to initialize NVML: Driver/library version mismatch"),
        ("off-the-bus", "nvidia-smi failed: Unable to determine the device handle for GPU0000:0A:00.0: Unknown Error"),
    ],
)  # fmt: skip
def test_a_failing_driver_is_told(case: str, message: str, real: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, beside the GPUs that still answer."""
    failed = nvidia(case, real, monkeypatch)[-1]
    assert (failed.memory_bytes, failed.gpu) == (None, None)
    assert failed.note and failed.note.startswith(message) and "\n" not in failed.line(unlisted=False)
    assert len(nvidia(case, real, monkeypatch)) == (2 if case == "off-the-bus" else 1)


@pytest.mark.parametrize(
    ("board", "gpu"),
    [
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0", "jetson-orin-nano-8gb"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit\0", "jetson-orin-nx-8gb"),
        ("", None),
    ],
)
def test_a_jetson_is_the_board_that_it_says_it_is(
    board: str, gpu: str | None, real: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two have the same GPU and as much memory; the device tree tells them apart, and without it neither is taken."""
    monkeypatch.setattr(detecting, "_main_memory", lambda: MainMemory(7620 * MIB, 5 * GIB))
    (tmp_path / "model").write_text(board)
    (device,) = nvidia("orin-nano", real, monkeypatch)
    assert (device.memory_bytes, device.gpu) == (7620 * MIB, gpu)


@pytest.mark.parametrize(
    ("name", "gib", "gpu"),
    [
        ("Apple M3 Max", 128, "apple-m3-max-40-core-128gb"),
        ("Apple M1", 8, "apple-m1-8-core-8gb"),
        ("Apple processor", 8, None),
    ],
)
def test_what_a_mac_states(
    name: str, gib: int, gpu: str | None, real: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chip and its memory, of which a share may be a GPU's; a virtual machine names no chip."""
    said = {"machdep.cpu.brand_string": name, "hw.memsize": str(gib * GIB)}
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr(detecting, "_run", lambda command: detecting.Printed(said[command[-1]] + "\n", None))
    mac = detect(real)[0]
    assert (mac.name, mac.memory_bytes, mac.free_bytes, mac.gpu) == (name, gib * GIB, gib * GIB * 3 // 4, gpu)


def test_wsl_keeps_nvidia_smi_outside_path(real: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is found there; on a machine without nvidia-smi there is no GPU and no complaint."""
    assert [device.vendor for device in detect(real)] == ["CPU"]
    there = tmp_path / "wsl"
    there.write_text("#!/bin/sh\necho 'NVIDIA GeForce RTX 4090, 24564, 22000, 570.86'\n")
    there.chmod(there.stat().st_mode | stat.S_IXUSR)
    assert detect(real)[0].gpu == "rtx-4090"


def test_a_program_that_cannot_be_started(real: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A broken nvidia-smi is a line, not a traceback."""
    broken = tmp_path / "nvidia-smi"
    broken.write_bytes(b"\x7fELF nonsense")
    broken.chmod(0o755)
    assert detect(real)[0].note == "nvidia-smi failed: Exec format error"


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("amd-sysfs/rx7900xtx", ("AMD Radeon RX 7900 XTX", 1, 25_753_026_560, 25_553_026_560, "rx-7900-xtx")),
        ("amd-sysfs/rx6800", ("AMD Radeon RX 6800", 1, 17_163_091_968, 16_163_091_968, "rx-6800")),
        ("amd-sysfs/rx7900m", ("AMD GPU 0x744c", 1, 17_163_091_968, 17_163_091_968, None)),
        ("amd-sysfs/mi300x", ("AMD Instinct MI300X", 2, 205_822_885_888, 205_522_885_888, "instinct-mi300x")),
        ("amd-sysfs/rx9070", ("AMD Radeon RX 9070", 1, 17_095_983_104, 17_000_000_000, "rx-9070")),
        ("amd-sysfs/rx9070xt", ("AMD Radeon RX 9070 XT", 1, 17_095_983_104, 17_000_000_000, "rx-9070-xt")),
        ("amd-sysfs/mi300x-vf", ("AMD Instinct MI300X", 1, 205_822_885_888, 205_522_885_888, "instinct-mi300x")),
        ("amd-sysfs/vega-64", ("AMD GPU 0x687f", 1, 8_573_157_376, 8_000_000_000, None)),
        ("amd-sysfs/no-driver", ("AMD Radeon RX 7900 XTX", 1, None, None, None)),
        # 75 % of GTT, and what is free of the little that is its own; main memory here is less than what it may map.
        ("amd-sysfs/strix-halo", ("AMD Ryzen AI Max+ 395 (Radeon 8060S, 128 GB)", 1, 133_680_857_088, 100_239_860_544, "ryzen-ai-max-395-128gb")),
        # 96 GiB of 128 set aside by the firmware, and GTT.
        ("amd-sysfs/strix-halo-96gb-vram", ("AMD Ryzen AI Max+ 395", 1, 119_579_215_104, 115_154_215_104, None)),
        ("amd-sysfs/radeon-780m", ("AMD Radeon 780M (16 GB, LPDDR5-6400)", 1, 16_536_870_912, 12_436_870_912, "radeon-780m-16gb")),
        ("amd-sysfs/unlisted-apu", ("AMD GPU 0x1638", 1, 16_536_870_912, 12_436_870_912, None)),
        ("intel-sysfs/arc-b580", ("Intel Arc B580", 1, 12 * GIB, None, "arc-b580")),
        ("intel-sysfs/arc-a770", ("Intel Arc A770", 1, None, None, None)),
        ("intel-sysfs/uhd-770", ("Intel GPU 0x4680", 1, None, None, None)),
        ("intel-sysfs/arc-140v", ("Intel Arc 140V", 1, 62 * GIB, int(50 * GIB * 0.75), None)),
    ],
)  # fmt: skip
def test_what_the_kernel_states(
    case: str, expected: tuple[object, ...], real: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By PCI id and memory; integrated GPUs with the main memory that they may use, others without."""
    (device,) = sysfs(case, real, monkeypatch)
    assert (device.name, device.count, device.memory_bytes, device.free_bytes, device.gpu) == expected


def test_a_card_beside_an_integrated_gpu(real: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own memory, the processor's last."""
    assert [device.gpu for device in sysfs("amd-sysfs/ryzen-with-a-card", real, monkeypatch)] == [
        "rx-7600",
        "radeon-780m-16gb",
    ]
    assert [device.gpu for device in sysfs("intel-sysfs/arc-a380-beside-uhd", real, monkeypatch)] == [None, "arc-a380"]


def test_a_large_carve_out_still_is_the_machine_that_it_is(real: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Strix Halo with 96 GiB set aside and 31 GiB left has 128 GB."""
    monkeypatch.setattr(detecting, "_main_memory", lambda: MainMemory(31 * GIB, 20 * GIB))
    (device,) = sysfs("amd-sysfs/strix-halo-96gb-vram", real, monkeypatch)
    assert device.gpu == "ryzen-ai-max-395-128gb"


def test_a_line_for_each_kind(real: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many, how much each, and what is not known."""
    (five,) = nvidia("five-a4000", real, monkeypatch)
    assert five.line(unlisted=False) == "5 x NVIDIA RTX A4000: 17.0 of 17.2 GB free each, driver 550.54"
    (mig,) = nvidia("mig-no-permission", real, monkeypatch)
    assert mig.line(unlisted=False) == (
        "NVIDIA A100-SXM4-80GB: memory not known, driver 535.161.08 (nvidia-smi says [Insufficient Permissions])"
    )
    (error,) = nvidia("unknown-error", real, monkeypatch)
    assert "25.8 GB, how much of it is free is not known" in error.line(unlisted=False)
    with pytest.raises(ValueError, match="the memory of NVIDIA A100-SXM4-80GB is not known"):
        with_free_memory(real, mig)
    catalog, key = with_free_memory(real, error)
    assert catalog.gpus[key].spec.memory_bytes == 24576 * MIB


def test_detect_on_the_command_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five equal GPUs are one table; a failing driver is a line, and JSON has it too."""
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{CASES / 'nvidia-smi/five-a4000'}:/usr/bin:/bin:{path}")
    shown = cli("detect").stdout
    assert shown.count(" models run on ") == 2  # and the processor
    assert "5 x NVIDIA RTX A4000: 17.0 of 17.2 GB free each, driver 550.54\n" in shown
    document = json.loads(cli("detect", "--json").stdout)
    assert [device["count"] for device in document["devices"]] == [5, 1]
    monkeypatch.setenv("PATH", f"{CASES / 'nvidia-smi/no-driver'}:/usr/bin:/bin:{path}")
    assert "NVIDIA GPU: memory not known (nvidia-smi failed: " in cli("detect").stdout
