"""ONNX Runtime: the component exported as a graph, quantized as transformers.js does, run by an inference session."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import QuantizationMode, QuantType
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.registry import IntegerOpsRegistry
from torch import nn

from fitcard.catalog.schema.quantization import Quantization
from fitcard.catalog.schema.run import Mode
from fitcard.catalog.schema.tensor_types import TENSOR_TYPES
from fitcard.catalog.schema.trace import ONNX_LOOP
from fitcard.profiler.devices import Device
from fitcard.profiler.meta_model import EntryPoint, inputs
from fitcard.profiler.variant import Inputs, Runnable, VariantSpec, with_values
from fitcard.profiler.weights import Values

OPSET = 18
ORDER = ("input_ids", "pixel_values")
_Q4_BLOCK = TENSOR_TYPES["INT4B32"].block_elements


def unsupported(variant: VariantSpec, mode: Mode) -> str | None:
    """Why the device cannot serve it, or None."""
    if mode == "compiled":
        return "torch.compile does not compile an ONNX graph"
    if variant.one_by_one:
        return ONNX_LOOP
    size = sum(4 * tensor.tensor.elements for tensor in variant.stored)
    if size >= onnx.checker.MAXIMUM_PROTOBUF:
        return f"exported in FP32 it has {size / 1e9:.1f} GB, and one file of ONNX holds no more than 2 GiB"
    return None


def activation_type(quantization: Quantization, device: Device) -> torch.dtype:
    """The type of activations while it runs."""
    return torch.float32


def write(path: Path, variant: VariantSpec, values: Values) -> None:
    """Export the component in float32 and quantize the graph, by ONNX Runtime's own quantizers."""
    model = with_values(variant, values)
    _export(path, model, variant.entry_point(model))
    if variant.quantization.weight_type == "F32":
        return
    del model
    logging.getLogger().setLevel(logging.ERROR)  # both quantizers report each node that they look at
    graph = onnx.load(path)
    quantized = _int4(graph) if variant.quantization.weight_type == "INT4B32" else _int8(graph)
    onnx.save_model(quantized, path)


def _export(path: Path, model: nn.Module, entry_point: EntryPoint) -> None:
    """Export with the exporter that keeps each weight one constant, transposed where an operator wants it so."""
    example = inputs(model, entry_point, 2, torch.float32, "cpu")
    names = [name for name in ORDER if name in example]
    axes = {name: {0: "batch"} for name in (*names, "embeddings")}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # tracing warns of every shape that it takes for fixed, and those are
        torch.onnx.export(
            _Positional(model, entry_point, names).eval(), tuple(example[name] for name in names), path, dynamo=False,
            input_names=names, output_names=["embeddings"], dynamic_axes=axes, opset_version=OPSET,
        )  # fmt: skip


class _Positional(nn.Module):
    """The exporter passes inputs by position and wants a module."""

    def __init__(self, model: nn.Module, entry_point: EntryPoint, names: list[str]) -> None:
        super().__init__()
        self.model, self.entry_point, self.names = model, entry_point, names

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.entry_point.call(self.model, dict(zip(self.names, tensors, strict=True)))


def _int8(graph: Any) -> Any:
    """Dynamic INT8, one scale a tensor: unsigned weights as soon as there is a convolution, signed ones without."""
    convolution = any(node.op_type == "Conv" for node in graph.graph.node)
    quantizer: Any = ONNXQuantizer(
        graph, False, False, mode=QuantizationMode.IntegerOps, static=False,
        weight_qType=QuantType.QUInt8 if convolution else QuantType.QInt8, activation_qType=QuantType.QUInt8,
        tensors_range=None, nodes_to_quantize=[], nodes_to_exclude=[], op_types_to_quantize=set(IntegerOpsRegistry),
        extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True},
    )  # fmt: skip
    quantizer.quantize_model()
    return quantizer.model.model


def _int4(graph: Any) -> Any:
    quantizer: Any = MatMulNBitsQuantizer(graph, block_size=_Q4_BLOCK, is_symmetric=True)
    quantizer.process()
    return quantizer.model.model


def read_census(path: Path) -> list[tuple[str, int, int]]:
    """Type, elements and bytes of every weight in the graph; scales and zero points belong to their weight."""
    graph = onnx.load(path).graph
    constants = {i.name: i for i in graph.initializer}
    rows: list[tuple[str, int, int]] = []
    for node in graph.node:
        if node.op_type == "MatMulNBits":
            size = {a.name: a.i for a in node.attribute}
            blocks = sum(math.prod(constants[name].dims) for name in node.input[1:3] if name.endswith("_Q4"))
            scales = sum(math.prod(constants[name].dims) for name in node.input[1:3] if name.endswith("_scales"))
            rows.append(("INT4B32", size["K"] * size["N"], blocks + 4 * scales))
    # Equal tensors are stored once; each other use is a node that passes the first one on.
    names = [*constants, *(n.input[0] for n in graph.node if n.op_type == "Identity" and n.input[0] in constants)]
    for name in names:
        constant = constants[name]
        elements = math.prod(constant.dims)
        if name.endswith("_quantized"):
            rows.append(("INT8T", elements, elements + 4 + 1))
        elif constant.data_type == onnx.TensorProto.FLOAT and not name.endswith(("_scale", "_scales")):
            rows.append(("F32", elements, 4 * elements))
    return rows


def load(path: Path, variant: VariantSpec, model: nn.Module) -> Runnable:
    """Open the graph, which holds the model itself, in a session with as many threads as torch uses."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def call(batch_inputs: Inputs) -> torch.Tensor:
        (out,) = session.run(None, {name: np.asarray(batch_inputs[name]) for name in names})
        return torch.from_numpy(out)

    return Runnable(call, sum(size for _, _, size in read_census(path)))
