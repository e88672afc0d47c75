"""What a profile survives: every fault for real, in the processes that it would hit."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file, save_file

from fitcard.catalog import Catalog
from fitcard.catalog.parse import read_runs
from fitcard.catalog.schema.quantization import predicted_census
from fitcard.catalog.schema.run import Run, WeightsSource
from fitcard.profiler.case import device_id
from fitcard.profiler.devices import Device, find_device
from fitcard.profiler.runner import profile
from fitcard.profiler.settings import Settings, variants
from tests.conftest import ROOT, Cli
from tests.preloaded import Preloaded
from tests.profiler.conftest import KEY, save_checkpoint

QUICK = ["--component", "vision", "--batch", "1", "--repeats", "1", "--seconds", "0.1"]
# Under a cap nothing is compared with FP32, so that a case is three processes and not seven.
CAPPED = [*QUICK, "--vram-limit", "16GiB"]


def settings(*labels: str, **more: object) -> Settings:
    made = Settings(
        Device("cpu", "CPU"), ("vision",), labels, (1,), repeats=1, seconds=0.1, memory_limit_bytes=16 << 30
    )
    return replace(made, **more)  # type: ignore[arg-type]


def records(catalog: Catalog, output: Path) -> tuple[Run, ...]:
    path = output / device_id(catalog, find_device("cpu")) / f"{KEY}.yaml"
    return read_runs(path) if path.exists() else ()


def start(
    catalog: Catalog, output: Path, *words: str, before: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fitcard", "--catalog", str(catalog.root), "profile", KEY, "--output", str(output)]
    environment = {**os.environ, "COLUMNS": "250", "NO_COLOR": "1"}
    return subprocess.Popen(
        [*command, *words], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=before, start_new_session=True,
    )  # fmt: skip


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_killed_it_goes_on_and_leaves_nothing_running(odd: Catalog, tmp_path: Path) -> None:
    """kill -9 after the first record: its child ends too, the record stays, and the same command runs the rest."""
    labels = ["--quant", "BF16", "--quant", "Q8_0"]
    first = start(odd, tmp_path, *CAPPED, *labels)
    until(lambda: len(records(odd, tmp_path)) == 1)
    until(lambda: bool(psutil.Process(first.pid).children()))
    children = psutil.Process(first.pid).children()
    first.kill()
    first.communicate()
    until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children), 10)
    again = start(odd, tmp_path, *CAPPED, *labels)
    out, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    assert "1 cases were done before this was interrupted" in err
    assert "2 records under" in out
    assert [run.quantization for run in records(odd, tmp_path)] == ["BF16", "Q8_0"]
    assert not list(tmp_path.rglob("*.unfinished"))
    assert not list(tmp_path.rglob(".*.tmp"))


def test_killed_at_random_moments_no_record_is_lost_or_damaged(odd: Catalog, tmp_path: Path) -> None:
    """kill -9 again and again, whatever it is doing: every record ever seen stays, every file stays whole, and the command
    that is left alone at last has run each case once. FITCARD_KILLS=20 makes it as many times."""
    kills, seed = int(os.environ.get("FITCARD_KILLS", "3")), random.Random(7)
    labels = [word for label in ("BF16", "FP8", "Q8_0", "NF4") for word in ("--quant", label)]
    seen: dict[str, Run] = {}
    for _ in range(kills):
        running = start(odd, tmp_path, *CAPPED, *labels)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(seed.uniform(0.1, 5))
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        found = {run.key: run for run in records(odd, tmp_path)}
        assert {key: found.get(key) for key in seen} == seen
        seen = found
    last = start(odd, tmp_path, *CAPPED, *labels)
    _, err = last.communicate(timeout=200)
    assert last.returncode == 0, err
    found = {run.key: run for run in records(odd, tmp_path)}
    assert {key: found.get(key) for key in seen} == seen
    assert {run.quantization for run in found.values()} == {"BF16", "FP8", "Q8_0", "NF4"}
    assert not list(tmp_path.rglob(".*.tmp"))


def test_ctrl_c_keeps_what_is_written(odd: Catalog, tmp_path: Path) -> None:
    running = start(odd, tmp_path, *CAPPED, "--quant", "BF16", "--quant", "Q8_0")
    until(lambda: len(records(odd, tmp_path)) == 1)
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "interrupted; the 1 records written so far are kept, and the same command goes on from there" in err
    assert "Traceback" not in err
    assert len(records(odd, tmp_path)) == 1


def test_too_little_memory_is_a_record(odd: Catalog, tmp_path: Path, cli: Cli) -> None:
    """A cap that the runtime fits under and the model does not: the kernel refuses, and the record says so."""
    words = [*QUICK, "--quant", "FP32", "--batch", "64"]
    done = cli("profile", KEY, *words, "--vram-limit", "100MB", "--output", tmp_path, catalog=odd.root)
    assert done.returncode == 1
    assert "no case gave a measurement; the records say why" in done.stderr
    (run,) = records(odd, tmp_path)
    assert (run.status, run.memory_limit_bytes) == ("out_of_memory", 100_000_000)
    assert run.reason is not None
    assert "the runtime alone takes" in run.reason


def test_a_batch_that_does_not_fit_ends_the_ladder(odd: Catalog) -> None:
    """The batches before it are measured: 16384 images alone need more than is left under the cap, 1 does not."""
    chosen = settings("FP32", batches=(1, 16384), memory_limit_bytes=1 << 30)
    (run,) = profile(odd, KEY, chosen, variants(KEY, chosen))
    assert run.status == "ok", run.reason
    assert run.out_of_memory_batch == 16384
    assert [m.batch for m in run.memory] == [s.batch for s in run.speed] == [1]


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [(signal.SIGSEGV, "crashed", "killed by signal 11"), (signal.SIGSTOP, "timed_out", "took longer than 25 s")],
)
def test_a_case_that_crashes_or_hangs_is_a_record_and_the_next_one_runs(
    sent: signal.Signals, status: str, said: str, odd: Catalog
) -> None:
    chosen = settings("BF16", "Q8_0", timeout_s=25.0)
    me = psutil.Process()
    Preloaded.line()  # what forks is no new child
    before = set(me.children())

    def hit() -> None:
        until(lambda: bool(set(me.children()) - before))
        (set(me.children()) - before).pop().send_signal(sent)

    thread = threading.Thread(target=hit)
    thread.start()
    found = list(profile(odd, KEY, chosen, variants(KEY, chosen)))
    thread.join()
    assert [run.status for run in found] == [status, "ok"]
    assert found[0].reason is not None
    assert said in found[0].reason


def test_a_full_disk_is_a_record(odd: Catalog, tmp_path: Path) -> None:
    """The kernel refuses files above 1 MB, as a full disk does: the variant cannot be written, its record can."""

    def no_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    running = start(odd, tmp_path, *CAPPED, "--quant", "FP32", before=no_large_files)
    _, err = running.communicate(timeout=120)
    assert "Traceback" not in err
    (run,) = records(odd, tmp_path)
    assert run.status == "crashed"
    assert run.reason is not None
    assert "File too large" in run.reason


def test_a_record_that_cannot_be_written_is_an_error_and_the_others_stay(odd: Catalog, tmp_path: Path) -> None:
    def no_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))

    output = tmp_path / "runs"
    first = start(odd, output, *CAPPED, "--quant", "FP8")
    assert first.communicate(timeout=60)[1].endswith("no case gave a measurement; the records say why\n")
    (run,) = records(odd, output)
    running = start(odd, output, *CAPPED, "--quant", "FP8", before=no_files)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "a record could not be written under" in err
    assert "Traceback" not in err
    assert records(odd, output) == (run,)


def test_two_profilers_at_once_lose_nothing(odd: Catalog, tmp_path: Path) -> None:
    both = [start(odd, tmp_path, *CAPPED, "--quant", label) for label in ("BF16", "Q8_0")]
    for running in both:
        _, err = running.communicate(timeout=200)
        assert running.returncode == 0, err
    assert sorted(run.quantization for run in records(odd, tmp_path)) == ["BF16", "Q8_0"]


def test_a_truncated_checkpoint_is_an_error_and_no_record(odd: Catalog, tmp_path: Path, cli: Cli) -> None:
    folder = tmp_path / "checkpoint"
    save_checkpoint(odd, folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1000])
    done = cli("profile", KEY, *CAPPED, "--weights", folder, "--output", tmp_path / "runs", catalog=odd.root)
    assert done.returncode == 1
    assert "is no whole safetensors file" in done.stderr
    assert "Traceback" not in done.stderr
    assert records(odd, tmp_path / "runs") == ()


def test_outputs_that_are_not_numbers_are_counted(odd: Catalog, tmp_path: Path) -> None:
    """Weights that FP32 can multiply and FP16 cannot: memory and speed count, and not one embedding is finite."""
    save_checkpoint(odd, tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["vision_model.encoder.layers.0.mlp.fc2.weight"] *= 3e6
    save_file(tensors, path, metadata={"format": "pt"})
    chosen = settings("FP16", checkpoint=tmp_path, weights=WeightsSource(kind="local"), memory_limit_bytes=None)
    (run,) = profile(odd, KEY, chosen, variants(KEY, chosen))
    assert run.status == "ok"
    assert run.fidelity is not None
    assert (run.fidelity.nonfinite, run.fidelity.cosine_mean, run.fidelity.top1_agreement) == (8, None, 0.0)


def test_compiled_is_another_run(odd: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same variant compiled by torch: recorded as such, with the compilation in the first run. The text tower makes
    half as many kernels as the image tower, and the C++ compiler takes seconds for each."""
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no pool of processes, each of which would import torch
    chosen = settings("FP32", "ONNX-FP32", mode="compiled", components=("text",))
    compiled, graph = profile(odd, KEY, chosen, variants(KEY, chosen))
    assert (compiled.status, compiled.mode) == ("ok", "compiled"), compiled.reason
    assert compiled.first_run_s is not None
    assert compiled.first_run_s > 20 * compiled.speed[0].median_s
    assert (graph.status, graph.reason) == ("unsupported", "torch.compile does not compile an ONNX graph")


@pytest.mark.usefixtures("cold")  # huggingface_hub reads while it is imported where its cache is
def test_weights_from_the_hub_are_pinned_to_a_commit(
    odd: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the hub's own cache, as a download leaves it: the commit stands in the record, the numbers are the checkpoint's."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "hub"
    snapshot = home / f"models--{KEY.replace('/', '--')}" / "snapshots" / commit
    save_checkpoint(odd, snapshot)
    refs = home / f"models--{KEY.replace('/', '--')}" / "refs"
    refs.mkdir()
    (refs / "main").write_text(commit)
    monkeypatch.setenv("HF_HUB_CACHE", str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    running = start(odd, tmp_path / "runs", *CAPPED, "--quant", "FP32", "--weights", "hub")
    _, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    (run,) = records(odd, tmp_path / "runs")
    assert (run.weights.kind, run.weights.revision) == ("hub", commit)
    assert run.census == predicted_census(odd.quantizations["FP32"], odd.traces[KEY].tensors_of("vision"))
    missing = start(odd, tmp_path / "runs", *CAPPED, "--quant", "FP32", "--weights", "hub@v2")
    _, err = missing.communicate(timeout=60)
    assert missing.returncode == 1
    assert f"{KEY} at v2 could not be fetched from the hub" in err
    assert "Traceback" not in err
