"""The values of a checkpoint as a GGUF file holds them: some are turned, cut, stacked or transformed on the way.

Source: the `modify_tensors` methods in `conversion/` of https://github.com/ggml-org/llama.cpp/tree/b11549. Tests hold
the logits of files made so, run in llama.cpp, to transformers' own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from fitcard.catalog.errors import FitcardError
from fitcard.profiler.decoder_tensors import experts_of
from fitcard.profiler.llama_cpp.gguf_file import ROPE, Rows, TensorToWrite, Values, encode
from fitcard.profiler.llama_cpp.rope import SERVED, rope_divisors, rope_parameters
from fitcard.profiler.weights_source import checkpoint_files

Read = Callable[[str], torch.Tensor]

TURNED = ("llama", "mistral", "mixtral", "granitemoehybrid")
"""Models whose queries and keys llama.cpp turns in another order than transformers."""
UNREAD = {"gpt_oss": "its checkpoints hold packed MXFP4 blocks"}
"""Models whose checkpoints fitcard does not convert, and why."""


def checkpoint_rows(folder: Path, config: Any) -> Values:
    """The tensors of a checkpoint folder in safetensors; `config` is transformers' own object of the model.

    Raises FitcardError for a model that is not converted, and when a tensor is asked for that the folder does not hold.
    """
    config = config.get_text_config()
    if reason := UNREAD.get(config.model_type):
        raise FitcardError(f"fitcard does not convert checkpoints of {config.model_type}: {reason}")
    kind = rope_parameters(config).get("rope_type", "default")
    if kind not in SERVED:
        raise FitcardError(f"fitcard converts no rope_type {kind!r} (there are: {', '.join(SERVED)})")
    read = _reader(folder)

    def values(tensor: TensorToWrite) -> Iterator[Rows]:
        shape = tensor.shape if len(tensor.shape) < 3 else tensor.shape[1:]
        for piece in _pieces(config, tensor.source, read):
            numbers = piece.float().contiguous().numpy()
            if numbers.shape[-len(shape) :] != shape:
                raise FitcardError(f"{tensor.source} is {list(numbers.shape)} in {folder}, not {list(tensor.shape)}")
            yield encode(tensor.type, numbers.reshape(-1, shape[-1]))

    return values


def _reader(folder: Path) -> Read:
    from safetensors import safe_open

    where: dict[str, Path] = {}
    for file in checkpoint_files(folder):
        with safe_open(file, framework="pt") as opened:
            where |= dict.fromkeys(opened.keys(), file)
    if not where:
        raise FitcardError(f"{folder} holds no .safetensors file")

    def read(name: str) -> torch.Tensor:
        if name not in where:
            raise FitcardError(f"{folder} has no tensor {name}: it is another model's checkpoint")
        with safe_open(where[name], framework="pt") as opened:
            tensor: torch.Tensor = opened.get_tensor(name)
        return tensor

    return read


def _pieces(config: Any, name: str, read: Read) -> Iterator[torch.Tensor]:
    """The values of one tensor of the file, one expert after the other."""
    if name == ROPE:
        yield torch.tensor(rope_divisors(config))
    elif ".experts." in name:
        for expert in range(experts_of(config)[0]):
            yield read(name.replace(".experts.", f".experts.{expert}."))
    elif name.endswith((".k_b_proj.weight", ".v_b_proj.weight")):
        yield _half_of_latent(config, name, read)
    elif name.endswith((".gate_linear.weight", ".up_linear.weight")):
        which = "gate" if "gate_linear" in name else "up"
        both = read(name.replace(f"{which}_linear", "input_linear"))
        yield both.chunk(2, dim=-2)[which == "up"]
    elif name.endswith(".down_linear.weight"):
        yield read(name.replace("down_linear", "output_linear"))
    else:
        yield _converted(config, name, read(name))


def _half_of_latent(config: Any, name: str, read: Read) -> torch.Tensor:
    """What works keys, or values, out of the latent, head by head; for keys transposed."""
    both = read(re.sub(r"[kv]_b_proj\.weight$", "kv_b_proj.weight", name))
    heads = both.view(config.num_attention_heads, config.qk_nope_head_dim + config.v_head_dim, -1)
    if name.endswith(".k_b_proj.weight"):
        return heads[:, : config.qk_nope_head_dim].transpose(1, 2)
    return heads[:, config.qk_nope_head_dim :]


def _converted(config: Any, name: str, tensor: torch.Tensor) -> torch.Tensor:
    if config.model_type in TURNED and name.endswith(("q_proj.weight", "k_proj.weight")):
        heads = config.num_attention_heads if name.endswith("q_proj.weight") else config.num_key_value_heads
        return _interleaved(tensor, heads)
    if config.model_type == "gemma3_text" and name.endswith("norm.weight"):
        return tensor.float() + 1  # Gemma keeps norms as their distance from 1
    if name.endswith(".A_log"):
        decay = -torch.exp(tensor.float())
        return decay if decay.ndim == 2 else decay[:, None]
    if name.endswith((".conv1d.weight", ".conv.conv.weight")):
        return tensor.squeeze(1)
    if name.endswith(".mamba.D"):
        return tensor[:, None]
    if name.endswith(".mamba.norm.weight"):
        return tensor.view(config.mamba_n_groups, -1)
    return tensor


def _interleaved(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a head in the order in which llama.cpp turns them: neighbours, where transformers pairs the two
    halves."""
    return tensor.view(heads, 2, tensor.shape[0] // heads // 2, -1).transpose(1, 2).reshape(tensor.shape)
