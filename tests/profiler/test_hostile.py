"""Configurations, checkpoints, folders and locks that somebody made to do harm, or that are simply broken."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from packaging.specifiers import SpecifierSet
from safetensors.torch import load_file, save_file

from fitcard.catalog import Catalog
from fitcard.catalog.configuration import from_hub
from fitcard.catalog.errors import FitcardError, UnknownName
from fitcard.catalog.storage.private import locked_file, user_folder
from fitcard.catalog.storage.writer import locked
from fitcard.profiler import bounded_trace
from fitcard.profiler.bounded_trace import trace_bounded
from fitcard.profiler.checkpoint import Checkpoint, _tensors
from fitcard.profiler.devices import Device
from fitcard.profiler.llama_cpp.checkpoint_rows import _reader
from fitcard.profiler.meta_model import resolve
from fitcard.profiler.safe_config import safe_config
from fitcard.profiler.trace import trace
from fitcard.profiler.variant import VariantSpec
from fitcard.profiler.weights_source import find_weights
from fitcard.profiler.workspace import workspace
from tests.conftest import ROOT
from tests.profiler.test_trace import SMALL

CLIP = SMALL["clip"]


def clip(**vision: Any) -> dict[str, Any]:
    return {**CLIP, "vision_config": {**CLIP["vision_config"], **vision}}


def test_nothing_that_loads_code_reaches_transformers() -> None:
    """A kernel, a backbone or the repository's own code is dropped at every depth, and the caller is told what was."""
    config = {
        **clip(_attn_implementation_internal="evil/kernel", quantization_config={"quant_method": "gptq"}),
        "auto_map": {"AutoModel": "evil/code--modeling.Evil"}, "attn_implementation": "evil/kernel",
        "_attn_implementation": "evil/kernel", "use_kernels": True, "backbone": "evil/weights",
        "use_timm_backbone": True, "use_pretrained_backbone": True, "torch_dtype": "float64",
        "parts": [{"auto_map": {}}],
    }  # fmt: skip
    safe = safe_config(config)
    assert safe.values == {**CLIP, "parts": [{}]}
    assert "vision_config._attn_implementation_internal" in safe.dropped
    assert set(safe.warnings) == {
        "auto_map", "backbone", "use_timm_backbone", "use_pretrained_backbone", "parts.0.auto_map",
        "vision_config.quantization_config",
    }  # fmt: skip
    assert "evil" not in json.dumps(resolve(config).to_dict())


def test_no_transformers_that_loads_kernels_by_itself_is_allowed() -> None:
    """CVE-2026-4372: until 5.3 it ran code of a repository that a configuration named."""
    (needed,) = [
        line for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["profile"]
        if line.startswith("transformers")
    ]  # fmt: skip
    allowed = SpecifierSet(needed.removeprefix("transformers"))
    assert not any(version in allowed for version in ("4.57.6", "5.0.0", "5.2.9"))
    assert transformers.__version__ in allowed


def test_every_model_of_the_catalog_is_passed_on_whole(real: Catalog) -> None:
    """The reduction and the limits take nothing away from any model that exists."""
    for model in real.models.values():
        safe = safe_config(model.config)
        assert (safe.values, safe.dropped) == (model.config, ())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            clip(hidden_size=10**9),
            r"vision_config\.hidden_size is 1000000000; it takes a whole number from 1 to 131,072",
        ),
        (clip(num_hidden_layers=10**6), r"vision_config\.num_hidden_layers is 1000000; "),
        (clip(hidden_size=-64), r"vision_config\.hidden_size is -64; "),
        (clip(num_attention_heads=0), r"vision_config\.num_attention_heads is 0; "),
        (clip(hidden_size=None), r"vision_config\.hidden_size is None; "),
        (clip(hidden_size="64"), r"vision_config\.hidden_size is '64'; "),
        (clip(hidden_size=True), r"vision_config\.hidden_size is True; "),
        (clip(image_size=64.5), r"vision_config\.image_size is 64\.5; "),
        ({"model_type": 7}, r"model_type is 7; it takes a name"),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_built(config: dict[str, Any], message: str) -> None:
    """One sentence with the field, without importing transformers or starting a process."""
    with pytest.raises(FitcardError, match=message):
        trace_bounded(config)


def test_what_cannot_be_built_or_run_is_one_sentence() -> None:
    """In the process with limits, whatever transformers or torch raise names the model, and the field or the error's
    class."""
    with pytest.raises(FitcardError, match=r"cannot (build|run) model_type 'clip': .*patch_size|hidden_act|wobbly"):
        trace_bounded(clip(hidden_act="wobbly"))


def test_memory_and_time_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that are allowed one by one and not together end with a sentence, and so does a configuration that takes
    for ever."""
    huge = clip(hidden_size=1 << 17, intermediate_size=1 << 20, num_attention_heads=16)
    with pytest.raises(FitcardError, match=r"cannot build model_type 'clip': .*(allocate memory|memory)"):
        trace_bounded(huge)
    monkeypatch.setattr(bounded_trace, "TIME_S", 0.5)
    with pytest.raises(FitcardError, match=r"cannot trace model_type 'clip': tracing took longer than 0\.5 s"):
        trace_bounded(CLIP)


def test_the_hub_is_not_asked_where_it_must_not_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE holds for fitcard's own request as well."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnknownName, match="HF_HUB_OFFLINE is set"):
        from_hub("nobody/nothing")


TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**TINY, "intermediate_size": 64, "vocab_size": 100, "max_position_embeddings": 16}
TYPES: dict[str, dict[str, Any]] = {
    "dinov2": {"model_type": "dinov2", **TINY, "image_size": 28, "patch_size": 14},
    "nomic_bert": {"model_type": "nomic_bert", **TEXT},
    "bert": {"model_type": "bert", **TEXT},
}


def saved(config: dict[str, Any], folder: Path, real: Catalog) -> tuple[VariantSpec, Any]:
    """A checkpoint as transformers saves it, the variant to read it for, and the model that was saved."""
    options = {key: value for key, value in config.items() if key != "model_type"}
    torch.manual_seed(3)
    model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(config["model_type"], **options))
    model.save_pretrained(folder)
    traced = trace(config)
    component = traced.phases[0].component
    quantization = real.quantizations["FP32"]
    tensors = traced.tensors_of(component)
    return VariantSpec("tiny/x", "FP32", config, component, quantization, tensors, Device("cpu", "CPU"), 1), model


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("prefix", ["", "bert."])
def test_checkpoints_load_by_the_names_that_they_have(kind: str, prefix: str, real: Catalog, tmp_path: Path) -> None:
    """DINOv2 and nomic checkpoints name tensors otherwise than the model does, and BERT's may carry the prefix
    `bert.`."""
    if prefix and kind != "bert":
        return
    spec, model = saved(TYPES[kind], tmp_path, real)
    file = tmp_path / "model.safetensors"
    save_file({prefix + name: tensor for name, tensor in load_file(file).items()}, file)
    checkpoint = Checkpoint(tmp_path, spec)
    original = dict(model.named_parameters())
    for tensor in spec.stored:
        torch.testing.assert_close(checkpoint.values(tensor), original[tensor.name].detach(), rtol=0, atol=0)
    assert checkpoint.nonfinite == 0


def changed(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict[str, torch.Tensor]], None]:
    def apply(tensors: dict[str, torch.Tensor]) -> None:
        tensors["encoder.layer.0.output.dense.weight"] = change(tensors["encoder.layer.0.output.dense.weight"])

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t > 0, r"output\.dense\.weight in .* holds true or false \(BOOL\), which are no weights"),
        (lambda t: t.to(torch.complex64), r"output\.dense\.weight in .* holds complex numbers \(C64\)"),
        (lambda t: (t * 100).to(torch.int8), r"output\.dense\.weight in .* is quantized already \(I8\)"),
        (lambda t: t.to(torch.float8_e4m3fn), r"output\.dense\.weight in .* is quantized already \(F8_E4M3\)"),
    ],
)
def test_tensors_that_are_no_weights_are_refused(
    change: Callable[[torch.Tensor], torch.Tensor], message: str, real: Catalog, tmp_path: Path
) -> None:
    """One sentence names the tensor and its type; without it their bits would be taken for numbers."""
    spec, _ = saved(TYPES["bert"], tmp_path, real)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    changed(change)(tensors)
    save_file(tensors, file)
    with pytest.raises(FitcardError, match=message):
        Checkpoint(tmp_path, spec)


def test_a_tensor_in_two_files_is_refused_and_one_that_is_not_finite_counted(real: Catalog, tmp_path: Path) -> None:
    """Which of two is meant nobody can say; a NaN or an infinity is counted, tensor by tensor as they are read."""
    spec, _ = saved(TYPES["bert"], tmp_path, real)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors["encoder.layer.0.output.dense.weight"][0, :3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    save_file(tensors, file)
    checkpoint = Checkpoint(tmp_path, spec)
    for tensor in spec.stored:
        checkpoint.values(tensor)
    assert checkpoint.nonfinite == 3
    save_file({"pooler.dense.bias": torch.zeros(32)}, tmp_path / "more.safetensors")
    with pytest.raises(FitcardError, match=r"pooler\.dense\.bias is in both model\.safetensors and more\.safetensors"):
        Checkpoint(tmp_path, spec)


@pytest.fixture
def in_time() -> Any:
    """Whatever hangs is an error after ten seconds."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hung"))
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("in_time")
def test_a_lock_follows_no_link_and_waits_for_no_fifo(tmp_path: Path) -> None:
    """The file that a link points to stays as it is, and a FIFO in the lock's place is refused at once."""
    precious = tmp_path / "precious"
    precious.write_text("all I have")
    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / ".lock").symlink_to(precious)
    with pytest.raises(FitcardError, match=r"\.lock is a link"), locked(folder):
        pass
    assert precious.read_text() == "all I have"
    (folder / ".lock").unlink()
    os.mkfifo(folder / ".lock")
    with pytest.raises(FitcardError, match=r"\.lock is no regular file"), locked(folder):
        pass
    (folder / ".lock").unlink()
    (folder / ".lock").write_text("kept")
    with locked(folder):
        assert (folder / ".lock").read_text() == "kept"
        with pytest.raises(BlockingIOError), locked_file(folder / ".lock", wait=False):
            pass


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize(
    "read",
    [
        lambda folder: find_weights(str(folder), "org/name"),
        lambda folder: _tensors(folder, {"weight"}),
        lambda folder: _reader(folder)("weight"),
    ],
    ids=["digest", "encoder", "decoder"],
)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_weights_that_are_no_file_hang_nothing(kind: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    """A pipe is never read to its end, and neither is /dev/zero."""
    path = tmp_path / "model.safetensors"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(FitcardError, match=rf"model\.safetensors:1: is a (named )?{kind} and not a file"):
        read(tmp_path)


def test_workspaces_lie_in_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode 0700 in the cache, gone afterwards; what a killed profile left is removed, what a running one uses is
    not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    left = user_folder("workspaces") / "left"
    left.mkdir()
    with workspace() as running:
        assert running.parent == tmp_path / "fitcard" / "workspaces"
        assert not left.exists()
        assert {oct(path.stat().st_mode & 0o777) for path in (running, running.parent, tmp_path / "fitcard")} == {
            "0o700"
        }
        with workspace() as other:
            assert running.exists()
            assert other != running
    assert not running.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, whether it is a folder of another user or a link to one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = user_folder("workspaces")
    os.chown(folder, 12345, 12345)
    with pytest.raises(FitcardError, match=r"workspaces belongs to another user; set XDG_CACHE_HOME"), workspace():
        pass
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(FitcardError, match=r"workspaces is no folder"), workspace():
        pass


def test_the_process_that_asks_for_a_trace_imports_nothing_heavy() -> None:
    """`fitcard trace FILE` starts one process that imports torch, and not two."""
    code = "import sys, fitcard.profiler.cli, fitcard.profiler.add; print(sorted({'torch', 'transformers'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\[\]\n", done.stdout)
