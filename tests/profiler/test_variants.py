"""Variants are written, counted, loaded and run for real, on small models of the same odd shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from torch import nn

from catalog import Catalog, load
from catalog.file_format import file_bytes
from catalog.quantization import census, predicted_census, stored_tensors
from catalog.store import write_trace
from profiler.case import backend
from profiler.devices import Device
from profiler.modules import weight_bytes
from profiler.run import Settings, profile
from profiler.skeleton import build, inputs, paths
from profiler.trace import trace
from profiler.weights import checkpoint_values, random_values
from tests.conftest import copy_catalog

CPU = Device("cpu", "CPU")
KEY = "tiny/siglip"
# As in SO400M, rows that no multiple of 256 (288 = 9 x 32) and none of 32 (688 = 43 x 16) divides; and 256, which all types hold.
CONFIGS: dict[str, dict[str, Any]] = {
    "odd": {"hidden_size": 288, "intermediate_size": 688, "num_hidden_layers": 8, "num_attention_heads": 4},
    "even": {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 8, "num_attention_heads": 4},
}


@pytest.fixture(scope="module", params=CONFIGS)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """The real catalog with one small model more, traced."""
    root = copy_catalog(tmp_path_factory.mktemp("tiny") / "catalog")
    shape = CONFIGS[request.param]
    sizes = ", ".join(f"{key}: {value}" for key, value in shape.items())
    text = (root / "models/google/siglip-base-patch16-384.yaml").read_text()
    start, end = text.index("  vision_config:"), text.index("config_source:")
    config = f"  vision_config: {{{sizes}, image_size: 56, patch_size: 14}}\n  text_config: {{{sizes}, vocab_size: 512, max_position_embeddings: 16}}\n"
    path = root / "models" / f"{KEY}.yaml"
    path.parent.mkdir()
    path.write_text((text[:start] + config + text[end:]).replace("{gmacs.google/siglip-so400m-patch14-384}", "more"))
    model = load(root, traces_needed=False).models[KEY]
    write_trace(root / "traces" / f"{KEY}.json", trace(model.config))
    return load(root)


@pytest.fixture(scope="module")
def checkpoint(tiny: Catalog, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    """A checkpoint that transformers itself wrote, and the model that it was saved from."""
    config = dict(tiny.models[KEY].config)
    torch.manual_seed(5)
    model = transformers.AutoModel.from_config(
        transformers.AutoConfig.for_model(config.pop("model_type"), **config)
    ).eval()
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    return folder, model


LABELS = ["FP32", "BF16", "FP16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K"]


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("component", ["vision", "all"])
def test_file_census_and_memory_are_as_predicted(label: str, component: Any, tiny: Catalog, tmp_path: Path) -> None:
    """File size to the byte, tensor types tensor by tensor, and bytes in memory to the byte."""
    quantization, tensors = tiny.quantizations[label], tiny.traces[KEY].tensors_of(component)
    path = tmp_path / "variant"
    stored = list(stored_tensors(quantization, tensors))
    backend(quantization).write(path, KEY, label, stored, random_values())
    assert path.stat().st_size == file_bytes(quantization, label, KEY, tensors)
    assert census(backend(quantization).read_census(path)) == predicted_census(quantization, tensors)
    model = build(tiny.models[KEY].config)
    if component == "all":
        backend(quantization).load(path, model, quantization, CPU, 1 << 18)
        width = 4 if backend(quantization).activation_type(quantization, CPU) == torch.float32 else 2
        if width * 8 == quantization.held_bits:  # a CPU without BF16 holds what is not packed in FP32
            from catalog.quantization import held_bytes

            assert weight_bytes(model) == held_bytes(quantization, tensors)


def embed(model: nn.Module, dtype: torch.dtype, component: str) -> torch.Tensor:
    way = next(path for path in paths(model) if path.component == component)
    with torch.inference_mode():
        return way.call(model, inputs(model, way, 3, dtype, "cpu")).float()


@pytest.mark.parametrize("component", ["vision", "text"])
def test_a_saved_checkpoint_gives_the_outputs_of_transformers(
    component: str, tiny: Catalog, checkpoint: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    """FP32 from `save_pretrained`, through our file and our loading, against the model that transformers runs itself."""
    folder, original = checkpoint
    quantization, tensors = tiny.quantizations["FP32"], tiny.traces[KEY].tensors
    stored = list(stored_tensors(quantization, tensors))
    path = tmp_path / "variant"
    backend(quantization).write(path, KEY, "FP32", stored, checkpoint_values(folder, stored))
    ours = build(tiny.models[KEY].config)
    backend(quantization).load(path, ours, quantization, CPU, 1 << 18)
    torch.testing.assert_close(
        embed(ours, torch.float32, component), embed(original, torch.float32, component), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("label", ["Q8_0", "Q4_K_M", "Q2_K"])
@pytest.mark.parametrize("component", ["vision", "text"])
def test_a_gguf_variant_embeds_as_a_reference_made_by_the_gguf_package(
    label: str, component: str, tiny: Catalog, checkpoint: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    """The reference: the model of transformers with every weight dequantized from the same file by the `gguf` package."""
    folder, _ = checkpoint
    quantization, tensors = tiny.quantizations[label], tiny.traces[KEY].tensors
    stored = list(stored_tensors(quantization, tensors))
    path = tmp_path / "variant.gguf"
    backend(quantization).write(path, KEY, label, stored, checkpoint_values(folder, stored))
    dtype = CPU.fast_type
    ours = build(tiny.models[KEY].config)
    backend(quantization).load(path, ours, quantization, CPU, 1000)
    reference = build(tiny.models[KEY].config)
    for tensor in gguf.GGUFReader(path).tensors:
        numbers = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        module = reference.get_submodule(tensor.name.rpartition(".")[0])
        values = torch.from_numpy(np.array(numbers)).reshape(tuple(int(n) for n in tensor.shape[::-1])).to(dtype)
        module._parameters[tensor.name.rpartition(".")[2]] = nn.Parameter(values, requires_grad=False)
    torch.testing.assert_close(embed(ours, dtype, component), embed(reference, dtype, component), rtol=1e-3, atol=1e-3)


def test_a_checkpoint_of_another_model_is_refused(
    tiny: Catalog, checkpoint: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    from catalog.errors import FitcardError

    folder, _ = checkpoint
    other = list(stored_tensors(tiny.quantizations["FP32"], tiny.traces["google/siglip-base-patch16-384"].tensors))
    with pytest.raises(FitcardError, match=r"is \[.*\] in .*, but \[.*\] in the catalog"):
        checkpoint_values(folder, other)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(
        FitcardError, match=r"holds no \.safetensors file \(pytorch_model\.bin may run code when opened"
    ):
        checkpoint_values(tmp_path, other)
    (tmp_path / "model.safetensors").write_bytes(b"not one")
    with pytest.raises(FitcardError, match="is no whole safetensors file"):
        checkpoint_values(tmp_path, other)


def test_a_whole_profile(tiny: Catalog, checkpoint: tuple[Path, nn.Module]) -> None:
    """Real processes, start to record: random and saved weights need equal memory, and the record holds what was measured."""
    if tiny.models[KEY].config["vision_config"]["hidden_size"] != 288:
        return  # processes take seconds to start, and the even shapes show nothing new here
    records = {}
    for weights, labels in ((None, ("Q4_K_M", "NF4")), (checkpoint[0], ("BF16", "Q4_K_M"))):
        settings = Settings(
            CPU, ("vision",), labels, (1, 2), checkpoint=weights, repeats=1 if weights is None else 2, seconds=0.2
        )
        for run in profile(tiny, KEY, settings):
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
    assert [len(speed.samples_s) for speed in saved.speed] == [2, 2]
    near, nearer = saved.fidelity, records["BF16", "local"].fidelity
    assert near is not None
    assert nearer is not None
    assert 0.9 < near.cosine_mean < nearer.cosine_mean < 0.9999999
    memory = saved.batch_memory(1)
    assert memory is not None
    assert memory.runtime_bytes < memory.loaded_bytes <= memory.peak_bytes
    unsupported = records["NF4", "random"]
    assert (unsupported.status, unsupported.reason) == ("unsupported", "fitcard has no backend for bitsandbytes")
