"""Variants are written, counted, loaded and run for real, on small models of the same odd shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from torch import nn

from fitcard.catalog import Catalog
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.file_format import file_bytes
from fitcard.catalog.schema.quantization import census, held_bytes, predicted_census
from fitcard.catalog.schema.run import WeightsSource
from fitcard.profiler.backends import backend
from fitcard.profiler.checkpoint import Checkpoint
from fitcard.profiler.devices import Device
from fitcard.profiler.meta_model import build, inputs
from fitcard.profiler.parameters import set_parameter
from fitcard.profiler.runner import profile
from fitcard.profiler.settings import Settings, variants
from fitcard.profiler.trace import trace
from fitcard.profiler.variant import Runnable, VariantSpec
from fitcard.profiler.weights import Values, random_values
from tests.profiler.conftest import CONFIGS, KEY

CPU = Device("cpu", "CPU")
LABELS = [
    "FP32", "BF16", "FP16", "FP8", "INT8-dynamic", "INT8-weight-only", "INT4", "INT8-bnb", "NF4",
    "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K", "ONNX-FP32", "ONNX-INT8", "ONNX-Q4",
]  # fmt: skip


def variant_of(catalog: Catalog, label: str, component: Any, chunk: int = 1 << 18) -> VariantSpec:
    tensors = catalog.traces[KEY].tensors_of(component)
    config = catalog.models[KEY].config
    return VariantSpec(KEY, label, config, component, catalog.quantizations[label], tensors, CPU, chunk)


def is_even(catalog: Catalog) -> bool:
    return bool(catalog.models[KEY].config["vision_config"]["hidden_size"] == CONFIGS["even"]["hidden_size"])


def given(variant: VariantSpec, batch: int = 3) -> dict[str, torch.Tensor]:
    model = build(variant.config)
    dtype = backend(variant.quantization).activation_type(variant.quantization, CPU)
    return inputs(model, variant.entry_point(model), batch, dtype, "cpu")


def loaded(variant: VariantSpec, path: Path) -> Runnable:
    ready: Runnable = backend(variant.quantization).load(path, variant, variant.meta_model())
    return ready


def written(variant: VariantSpec, path: Path, values: Values) -> Path:
    backend(variant.quantization).write(path, variant, values)
    return path


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("component", ["vision", "text"])
def test_file_census_and_memory_are_as_predicted(label: str, component: Any, tiny: Catalog, tmp_path: Path) -> None:
    """File size to the byte, tensor types tensor by tensor, and bytes in memory to the byte; and the embeddings are near."""
    if component == "text" and is_even(tiny):
        return  # the even shape's text tower has nothing that its image tower has not
    variant = variant_of(tiny, label, component)
    module = backend(variant.quantization)
    path = written(variant, tmp_path / "variant", random_values())
    assert census(module.read_census(path)) == predicted_census(variant.quantization, variant.tensors)
    predicted = file_bytes(variant.quantization, label, KEY, variant.tensors)
    assert predicted == (None if variant.quantization.format == "onnx" else path.stat().st_size)
    if label == "FP8":
        return  # torch multiplies FP8 on a card only
    if reason := module.unsupported(variant, "eager"):
        assert label == "NF4"
        assert "unpacks NF4 wrongly on processors" in reason
        assert any(tensor.shape[-1] % 64 for tensor in variant.tensors)
        return
    ready = module.load(path, variant, variant.meta_model())
    width = 4 if module.activation_type(variant.quantization, CPU) == torch.float32 else 2
    if width * 8 == variant.quantization.held_bits:  # a CPU without BF16 holds what is not packed in FP32
        assert ready.weights_bytes == held_bytes(variant.quantization, variant.tensors)
    reference = variant_of(tiny, "FP32", component)
    exact = loaded(reference, written(reference, tmp_path / "fp32", random_values()))
    found, truth = ready.run(given(variant)).float(), exact.run(given(reference))
    cosine = torch.nn.functional.cosine_similarity(found, truth).min().item()
    four_bits = {"Q4_0": 0.93, "INT4": 0.9, "ONNX-Q4": 0.9, "NF4": 0.9}
    assert cosine > {"Q2_K": 0.6, "Q3_K_M": 0.9, **four_bits}.get(label, 0.97)
    assert cosine < 1 - 1e-7 or label in ("FP32", "ONNX-FP32")


@pytest.mark.parametrize("component", ["vision", "text"])
@pytest.mark.parametrize("label", ["FP32", "ONNX-FP32"])
def test_a_saved_checkpoint_gives_the_outputs_of_transformers(
    label: str, component: Any, tiny: Catalog, checkpoint: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    """FP32 from `save_pretrained`, through our file and our loading, against the model that transformers runs itself."""
    folder, original = checkpoint
    variant = variant_of(tiny, label, component)
    path = written(variant, tmp_path / "variant", Checkpoint(folder, variant).values)
    ours = loaded(variant, path).run(given(variant))
    with torch.inference_mode():
        theirs = variant.entry_point(original).call(original, given(variant))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("label", ["Q8_0", "Q4_K_M", "Q2_K"])
@pytest.mark.parametrize("component", ["vision", "text"])
def test_a_gguf_variant_embeds_as_a_reference_made_by_the_gguf_package(
    label: str, component: Any, tiny: Catalog, checkpoint: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    """The reference: the model of transformers with every weight dequantized from the same file by the `gguf` package."""
    folder, _ = checkpoint
    variant = variant_of(tiny, label, component, chunk=1000)
    path = written(variant, tmp_path / "variant.gguf", Checkpoint(folder, variant).values)
    dtype = CPU.fast_type
    reference = variant.meta_model()
    for tensor in gguf.GGUFReader(path).tensors:
        numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        values = torch.from_numpy(np.array(numbers)).reshape(tuple(int(n) for n in tensor.shape[::-1])).to(dtype)
        set_parameter(reference, tensor.name, values)
    ours = loaded(variant, path).run(given(variant))
    with torch.inference_mode():
        theirs = variant.entry_point(reference).call(reference, given(variant))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_a_checkpoint_of_another_model_is_refused(
    tiny: Catalog, checkpoint: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    folder, _ = checkpoint
    shape = CONFIGS["odd" if is_even(tiny) else "even"]
    sizes = {"image_size": 56, "patch_size": 14}
    text = {"vocab_size": 512, "max_position_embeddings": 16}
    config = {"model_type": "siglip", "vision_config": {**shape, **sizes}, "text_config": {**shape, **text}}
    fp32 = tiny.quantizations["FP32"]
    other = VariantSpec("tiny/other", "FP32", config, "vision", fp32, trace(config).tensors_of("vision"), CPU, 1 << 18)
    with pytest.raises(FitcardError, match=r"is \[.*\] in .*, but \[.*\] in the catalog"):
        Checkpoint(folder, other)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(
        FitcardError, match=r"holds no \.safetensors file \(pytorch_model\.bin may run code when opened"
    ):
        Checkpoint(tmp_path, other)
    (tmp_path / "model.safetensors").write_bytes(b"not one")
    with pytest.raises(FitcardError, match="is no whole safetensors file"):
        Checkpoint(tmp_path, other)


def test_a_whole_profile(tiny: Catalog, checkpoint: tuple[Path, nn.Module]) -> None:
    """Real processes, start to record: random and saved weights need equal memory, and the record holds what was measured."""
    if is_even(tiny):
        return  # processes take seconds to start, and the even shapes show nothing new here
    records = {}
    for weights, labels in ((None, ("Q4_K_M", "FP8")), (checkpoint[0], ("BF16", "Q4_K_M"))):
        settings = Settings(
            CPU, ("vision",), labels, (1, 2), checkpoint=weights, repeats=1 if weights is None else 2, seconds=0.2,
            weights=WeightsSource(kind="random", seed=0) if weights is None else WeightsSource(kind="local"),
        )  # fmt: skip
        for run in profile(tiny, KEY, settings, variants(KEY, settings)):
            records[run.quantization, run.weights.kind] = run
    random, saved = records["Q4_K_M", "random"], records["Q4_K_M", "local"]
    assert random.status == saved.status == "ok"
    assert random.weights_bytes == saved.weights_bytes
    assert (
        random.census
        == saved.census
        == predicted_census(tiny.quantizations["Q4_K_M"], tiny.traces[KEY].tensors_of("vision"))
    )
    assert random.file_bytes == saved.file_bytes
    drawn, loaded_ones = random.batch_memory(1), saved.batch_memory(1)
    assert drawn is not None
    assert loaded_ones is not None
    assert abs(drawn.peak_bytes / loaded_ones.peak_bytes - 1) < 0.02
    assert [len(speed.samples_s) for speed in saved.speed] == [2, 2]
    near, nearer = saved.fidelity, records["BF16", "local"].fidelity
    assert near is not None
    assert nearer is not None
    assert 0.9 < (near.cosine_mean or 0) < (nearer.cosine_mean or 0) < 0.9999999
    assert near.top1_candidates == 32
    memory = saved.batch_memory(1)
    assert memory is not None
    assert memory.runtime_bytes < memory.loaded_bytes <= memory.peak_bytes
    unsupported = records["FP8", "random"]
    assert unsupported.status == "unsupported"
    assert unsupported.reason is not None
    assert "FP8 needs NVIDIA" in unsupported.reason


@pytest.mark.parametrize("label", ["FP32", "BF16", "Q8_0", "INT8-weight-only"])
def test_a_model_that_takes_patches_runs(label: str, real: Catalog, tmp_path: Path) -> None:
    """NaFlex: its patch embedding is a linear layer, so a label may pack that too; ONNX Runtime cannot run its loop, and says so."""
    config = {
        "model_type": "siglip2",
        "vision_config": {**CONFIGS["odd"], "num_hidden_layers": 2, "num_patches": 16, "patch_size": 16},
        "text_config": {**CONFIGS["odd"], "num_hidden_layers": 2, "vocab_size": 512, "max_position_embeddings": 16},
    }
    made = trace(config)

    def variant(label: str) -> VariantSpec:
        quantization = real.quantizations[label]
        return VariantSpec(
            "tiny/naflex", label, config, "vision", quantization, made.tensors_of("vision"), CPU, 1 << 18
        )

    one, exact = variant(label), variant("FP32")
    path = written(one, tmp_path / "variant", random_values())
    assert census(backend(one.quantization).read_census(path)) == predicted_census(one.quantization, one.tensors)
    found = loaded(one, path).run(given(one)).float()
    truth = loaded(exact, written(exact, tmp_path / "fp32", random_values())).run(given(exact))
    assert torch.nn.functional.cosine_similarity(found, truth).min() > 0.97
    onnx = variant("ONNX-FP32")
    assert "a loop of its own" in str(backend(onnx.quantization).unsupported(onnx, "eager"))
