"""The trace: a model without its weights, as `fitcard trace` writes it.

Sizes that grow with the batch are `[constant, per_item]`: at batch B the size is `constant + per_item * B`.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from fitcard.catalog.schema.language import Language
from fitcard.catalog.schema.record import Count, Record, Text, Written

Component = Literal["vision", "text", "all", "language"]
Reader = Literal["vision", "text", "language", "shared", "joint", "unused"]
Kind = Literal["linear", "embedding", "convolution", "other"]
Role = Literal[
    "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "ffn_up", "ffn_gate", "ffn_down",
    "token_embedding", "position_embedding", "patch_embedding", "projection", "other",
    "output_head", "router", "bias",
    "mla_q_a", "mla_q_b", "mla_kv_a", "mla_kv_b", "mla_k_b", "mla_v_b",
    "ssm_in", "ssm_x", "ssm_dt", "ssm_out", "ssm_conv", "ssm_state", "conv_in", "conv_kernel", "conv_out",
]  # fmt: skip
Trait = Literal["untied", "grouped_queries", "mixture", "four_experts", "eight_experts", "seventy_b"]
"""What llama.cpp asks about a model before it picks a type: `untied` (the output head is a tensor of its own), at least
4 queries a key, experts at all, at least 4 of them, exactly 8, and whether it takes the model for one of 70 billion
parameters."""
Linear = Annotated[Written[int], Field(min_length=2, max_length=2)]
"""`[constant, per_item]` of a size that grows with the batch."""


ONNX_LOOP = "the model handles each image of a batch in a loop of its own, and an export to ONNX would write that loop down for one batch"
"""Why ONNX Runtime does not serve a phase that is `one_by_one`."""


LAYER = "{layer}"
"""What stands in the name of a tensor in place of the number of its layer."""
EXPERT = "{expert}"
"""What stands there in place of the number of its expert."""


def at_batch(size: tuple[int, ...] | int, batch: int) -> int:
    """A size at a batch, whether it grows with it or not."""
    return size if isinstance(size, int) else size[0] + size[1] * batch


class Part(Record):
    """A piece that the converter to GGUF cuts a tensor into: of each layer's, if it has one in each."""

    name: Text
    shape: Written[int]
    role: Role


class Tensor(Record):
    """A parameter, or the same parameter of every layer of a stack: its name then holds `{layer}`."""

    name: Text
    shape: Written[int]
    layers: Annotated[int, Field(ge=1)] | None = None
    """How many layers have one, numbered from 0; null for a tensor that is no part of a numbered stack."""
    component: Reader
    """Who reads it: one tower, both (`shared`), only the two together (`joint`), or nobody (`unused`)."""
    kind: Kind
    """What kind of module owns it; only weights of plain linear and embedding layers can be quantized."""
    role: Role
    """The part that it plays in its layer, which mixed quantizations look at."""
    numbers: Written[int] | None = None
    """Numbers of the layers that have one; null where these are 0, 1, 2, ..."""
    experts: Annotated[int, Field(ge=1)] | None = None
    """How many experts share it: each has one of its own where the name holds `{expert}`, else it is all of theirs."""
    experts_used: Annotated[int, Field(ge=1)] | None = None
    """How many of these experts work on one token."""
    traits: Written[Trait] | None = None
    """What llama.cpp's rule asks about its model."""
    stack: Annotated[int, Field(ge=1)] | None = None
    """Of how many layers llama.cpp takes an eighth or a sixteenth for it; null for `layers`."""
    ordinals: Written[int] | None = None
    """The place of each among all tensors of its role, in the order of a GGUF file; null where that is 0, 1, 2, ..."""
    parts: Written[Part] | None = None
    """What the converter to GGUF cuts it into; null where it stays whole."""

    @property
    def count(self) -> int:
        """How many tensors this stands for."""
        return (self.layers or 1) * self._each_expert

    @property
    def _each_expert(self) -> int:
        return self.experts or 1 if EXPERT in self.name else 1

    @property
    def active_elements(self) -> float:
        """Elements of all of them that work on one token, on average over the experts."""
        share = self.experts_used / self.experts if self.experts and self.experts_used else 1
        return self.count * self.elements * share

    @property
    def elements(self) -> int:
        """Elements of one of them."""
        product = 1
        for size in self.shape:
            product *= size
        return product

    def each(self) -> Iterator[tuple[str, int | None]]:
        """The full name and layer number of each tensor that this stands for."""
        for layer in [None] if self.layers is None else self.numbers or range(self.layers):
            name = self.name if layer is None else self.name.replace(LAYER, str(layer))
            for expert in range(self._each_expert):
                yield name.replace(EXPERT, str(expert)), layer


class Operation(Record):
    """Operations alike in kind and shape, and how often a forward pass runs them."""

    kind: Literal["matmul", "attention", "convolution", "norm", "elementwise", "embedding", "copy"]
    count: Linear | Count
    """How many there are; it grows with the batch where a model takes its images one by one."""
    name: Text
    """The operator as the framework names it."""
    shape: dict[str, Linear | int]
    """matmul: m, n, k and groups; attention: batch, heads, queries, keys, head_dim; others: elements."""
    flops: Linear
    """Floating-point operations of one of them, a multiply-add counted as 2."""
    read: Linear
    """Elements of activations that one of them reads."""
    written: Linear
    """Elements that one of them writes."""
    weight: Text | None = None
    """The tensor whose values it reads, if it reads one."""
    transposed: bool = False
    """Whether something that an element-wise operation reads lies in memory in another order than it is read in."""


class Activations(Record):
    """The most bytes of activations that are alive at once in one forward pass, its inputs included."""

    batch: Annotated[int, Field(ge=1)]
    bytes_32: Count
    """With 32-bit activations."""
    bytes_16: Count
    """With 16-bit activations."""


class Fused(Record):
    """The element-wise work when each unbroken run of it, between matrix products and attention, is one kernel."""

    kernels: Linear | Count
    elements: Linear
    """Numbers that these kernels read and write."""


class StridedLinear(Record):
    """Linear layers that are fed a three-dimensional input which is not contiguous, as `nn.MultiheadAttention` does.

    Some runtimes take an expensive way for these; see `advisor/memory.py`.
    """

    count: Count
    outer: Linear | Count
    """Size of the outermost dimension of the input."""
    rows: Count
    """Output features."""
    columns: Count
    """Input features."""


class Phase(Record):
    """One way of running the model: a component, at one size of input."""

    component: Component
    image_size: int | None = None
    """Pixels along each side, or the height where `image_width` is there; null where no image goes in."""
    image_width: int | None = None
    """Pixels along the other side of an image that is not square."""
    image_tokens: int | None = None
    """Patches that an image becomes; null for a model without patches of one size."""
    text_tokens: int | None = None
    """Tokens of one text; null where no text goes in."""
    output_width: int
    """Length of the embedding that comes out."""
    activations: Written[Activations]
    operations: Written[Operation]
    fused: Fused
    strided_linears: Written[StridedLinear] = ()

    def flops(self, batch: int = 1) -> int:
        """Floating-point operations of one forward pass, a multiply-add counted as 2."""
        return sum(at_batch(op.count, batch) * at_batch(op.flops, batch) for op in self.operations)

    @property
    def pixels(self) -> str | None:
        """Height and width of an image in words; None where no image goes in."""
        return None if self.image_size is None else f"{self.image_size} x {self.image_width or self.image_size}"

    @property
    def one_by_one(self) -> bool:
        """Whether the model does something for each item of the batch by itself, in a loop."""
        return not all(isinstance(op.count, int) for op in self.operations)

    def multiply_adds(self, batch: int = 1) -> int:
        """Multiply-adds of the matrix operations alone, as papers and timm state them."""
        matrix = [op for op in self.operations if op.kind in {"matmul", "attention", "convolution"}]
        return sum(at_batch(op.count, batch) * at_batch(op.flops, batch) for op in matrix) // 2


class Trace(Record):
    """Everything about a model's arithmetic that can be known without its weights."""

    schema_version: Literal[1] = 1
    config_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the model's configuration as the catalog states it; another configuration needs another trace."""
    made_with: dict[str, str]
    """Library versions that made it."""
    tensors: Written[Tensor]
    phases: Written[Phase]
    notes: Written[Text] | None = None
    """What an answer must say of it: parts that were left out, or sizes that the configuration does not name."""
    language: Language | None = None
    """What a language model keeps and does; null for an encoder."""

    def active_parameters(self) -> int:
        """Parameters of the language model that work on one token: all but the experts that are not chosen for it."""
        return round(sum(tensor.active_elements for tensor in self.tensors_of("language")))

    def multiply_adds(self, component: Component, batch: int = 1) -> int:
        """Multiply-adds of a batch of images or texts, or of one token of so many sequences, each of which meets every active
        parameter once."""
        if component == "language":
            return batch * self.active_parameters()
        return self.phase(component).multiply_adds(batch)

    def parameters(self, component: Component = "all") -> int:
        """Exact number of parameters that a component reads; for `all`, every one of the checkpoint."""
        return sum(t.count * t.elements for t in self.tensors_of(component))

    def components(self) -> tuple[Component, ...]:
        """What can be run, the whole model last."""
        phases = tuple(phase.component for phase in self.phases)
        return (*phases, "language") if self.language else phases

    def phase(self, component: Component) -> Phase:
        """The phase that runs `component`. Raises KeyError for a component that the model does not have."""
        for phase in self.phases:
            if phase.component == component:
                return phase
        raise KeyError(component)

    def tensors_of(self, component: Component) -> tuple[Tensor, ...]:
        """The tensors that must be in memory to run `component`; for `all`, every tensor of the checkpoint."""
        if component == "all":
            return self.tensors
        return tuple(t for t in self.tensors if t.component in (component, "shared"))


_LAYER = re.compile(r"(?<=\.)\d+(?=\.)")


def layer_pattern(name: str) -> tuple[str, int | None]:
    """A tensor's name with its layer number taken out, and that number: `a.layers.3.fc1` is `("a.layers.{layer}.fc1", 3)`."""
    match = _LAYER.search(name)
    if not match:
        return name, None
    return f"{name[: match.start()]}{{layer}}{name[match.end() :]}", int(match.group())


_ROLES: tuple[tuple[str, Role], ...] = (
    (r"(q_proj|\.query|\.q)\.weight$", "attn_q"),
    (r"(k_proj|\.key|\.k)\.weight$", "attn_k"),
    (r"(v_proj|\.value|\.v)\.weight$", "attn_v"),
    (r"(in_proj_weight|qkv\.weight|Wqkv\.weight)$", "attn_qkv"),
    (r"attn.*(out_proj|o_proj|\.Wo|\.o)\.weight$|attention.*(output\.dense|out_proj|o_proj)\.weight$", "attn_output"),
    (r"(gate_proj)\.weight$", "ffn_gate"),
    (r"(fc1|up_proj|intermediate\.dense|weights_in|mlp\.Wi)\.weight$", "ffn_up"),
    (r"(fc2|down_proj|output\.dense|weights_out|mlp\.Wo)\.weight$", "ffn_down"),
    (r"(token_embedding|word_embeddings|tok_embeddings)\.weight$", "token_embedding"),
    (r"position_embeddings?(\.weight)?$", "position_embedding"),
    (r"patch_embeddings?(\.projection)?\.weight$", "patch_embedding"),
    (r"(visual|text)_projection\.weight$", "projection"),
)


def tensor_role(name: str) -> Role:
    """The part that a tensor plays, from its Hugging Face name; the first pattern that fits wins."""
    for pattern, role in _ROLES:
        if re.search(pattern, name):
            return role
    return "other"
