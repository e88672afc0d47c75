"""The part of a trace that is about a language model: what it keeps, what it does, and which part each tensor plays."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from fitcard.catalog.schema.record import Count, Record, Text, Written

CacheKind = Literal["full", "sliding", "latent", "state", "shared", "none"]


class CacheLayers(Record):
    """Layers that keep the same of each token or of each sequence."""

    kind: CacheKind
    """`full`: keys and values of every token; `sliding`: of the last `window` tokens; `latent`: what keys and values
    are worked out from (MLA); `state`: something of fixed size for each sequence; `shared`: they read another layer's;
    `none`."""
    layers: Written[int]
    """Their numbers."""
    heads: Count = 0
    """Query heads, each of which reads the cache."""
    key_width: Count = 0
    """Numbers that a token's keys are, all heads together; for `latent` those of one shared key."""
    value_width: Count = 0
    """The same for values; for `latent` they are part of the key."""
    window: Count | None = None
    """Tokens that a sliding layer looks back to, itself included."""
    convolution_channels: Count = 0
    """For `state`: what a causal convolution runs over, of whose last inputs the layer keeps some."""
    convolution_kernel: Count = 0
    """How many inputs that convolution looks at."""
    recurrent_state: Count = 0
    """Numbers that the recurrence keeps of a sequence."""


def layers_together(each: Iterable[tuple[int, CacheLayers]]) -> tuple[CacheLayers, ...]:
    """Layers by their numbers, those that keep the same in one record."""
    groups: dict[str, tuple[CacheLayers, list[int]]] = {}
    for number, layer in each:
        groups.setdefault(layer.model_dump_json(exclude={"layers"}), (layer, []))[1].append(number)
    return tuple(layer.model_copy(update={"layers": tuple(numbers)}) for layer, numbers in groups.values())


TokenPhaseName = Literal["prefill", "decode"]
Growth = Annotated[Written[int], Field(min_length=1, max_length=3)]
"""`[constant, per token, per token squared]` of a size that grows with the tokens of a phase; what is 0 at the end is
left out."""


def at_tokens(size: tuple[int, ...] | int, tokens: int) -> int:
    """A size at a number of tokens, whether it grows with them or not."""
    return size if isinstance(size, int) else sum(factor * tokens**power for power, factor in enumerate(size))


class TokenOperation(Record):
    """Operations alike in kind and shape, and how often one pass runs them."""

    kind: Literal["matmul", "attention", "convolution", "norm", "elementwise", "embedding", "copy"]
    count: Count
    name: Text
    """The operator as the framework names it."""
    shape: dict[str, Growth]
    """matmul: m, n, k and groups; attention: batch, heads, queries, keys, head_dim; others: elements."""
    flops: Growth
    """Floating-point operations of one of them, a multiply-add counted as 2."""
    read: Growth
    """Elements of activations that one of them reads, the cache included."""
    written: Growth
    """Elements that one of them writes."""
    weight: Text | None = None
    """The tensor whose values it reads, if it reads one, as transformers names it while it runs: a layer's experts are
    one."""


class TokenActivations(Record):
    """The most bytes that are alive at once besides the weights, in 16 bit, with the cache of these tokens."""

    tokens: Annotated[int, Field(ge=1)]
    bytes_16: Count


class TokenPhase(Record):
    """A pass of a language model over one sequence: all tokens of a prompt, or one more after those in the cache.

    What grows, grows with `tokens`: those of the prompt in prefill, those in the cache with the new one in decode.
    """

    name: TokenPhaseName
    component: Literal["language"] = "language"
    least_tokens: Annotated[int, Field(ge=1)]
    """From how many tokens on the sizes hold: sliding windows are full from there."""
    operations: Written[TokenOperation]
    activations: Written[TokenActivations]

    def flops(self, tokens: int) -> int:
        """Floating-point operations of one pass, a multiply-add counted as 2."""
        return sum(operation.count * at_tokens(operation.flops, tokens) for operation in self.operations)


class ComputePoint(Record):
    """llama.cpp's compute buffer in one setting: flash attention, and logits of one token a sequence."""

    ubatch: Annotated[int, Field(ge=1)]
    """Tokens of a pass."""
    context: Annotated[int, Field(ge=1)]
    """Tokens that the cache has room for."""
    compute_bytes: Count


class LlamaCpp(Record):
    """What llama.cpp itself says of a model, asked with a file that has a header and no weights."""

    build: Text
    """Its build, such as b11549."""
    architecture: Text
    """Its name of the model's architecture."""
    rope_bytes: Count = 0
    """Of a tensor that its converter works out of the configuration, and that no checkpoint holds."""
    compute: Annotated[Written[ComputePoint], Field(min_length=4, max_length=4)]
    """The compute buffer at two sizes of a pass and two contexts."""


class Language(Record):
    """What makes a model a language model."""

    layers: Count
    longest_context: Count | None = None
    """Tokens that its positions were trained or set up for; null where nothing limits them."""
    cache: Written[CacheLayers]
    phases: Written[TokenPhase]
    """Of prefill and decode those that can be written as sizes that grow: not the prefill of a recurrence that
    transformers runs token by token."""
    llama_cpp: LlamaCpp | None = None
    """Null for a model that llama.cpp does not run, or whose GGUF fitcard does not write."""


LanguageRole = Literal[
    "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "ffn_up", "ffn_gate", "ffn_down", "token_embedding",
    "output_head", "router", "bias", "mla_q_a", "mla_q_b", "mla_kv_a", "mla_kv_b", "ssm_in", "ssm_x", "ssm_dt",
    "ssm_out", "ssm_conv", "ssm_state", "conv_in", "conv_kernel", "conv_out", "other",
]  # fmt: skip

_LANGUAGE_ROLES: tuple[tuple[str, LanguageRole], ...] = (
    (r"bias$", "bias"),
    (r"(embed_tokens|backbone\.embeddings|\bwte)\.weight$", "token_embedding"),
    (r"lm_head\.weight$", "output_head"),
    (r"(mlp\.gate|block_sparse_moe\.gate|router(\.layer)?)\.weight$", "router"),
    (r"q_a_proj\.weight$", "mla_q_a"),
    (r"q_b_proj\.weight$", "mla_q_b"),
    (r"kv_a_proj_with_mqa\.weight$", "mla_kv_a"),
    (r"kv_b_proj\.weight$", "mla_kv_b"),
    (r"qkv_proj\.weight$", "attn_qkv"),
    (r"q_proj\.weight$", "attn_q"),
    (r"k_proj\.weight$", "attn_k"),
    (r"v_proj\.weight$", "attn_v"),
    (r"attn\.(o_proj|out_proj|dense)\.weight$", "attn_output"),
    (r"(experts\.\{expert\}|feed_forward)\.w1\.weight$|gate_proj\.weight$", "ffn_gate"),
    (r"(experts\.\{expert\}|feed_forward)\.w3\.weight$|(gate_up|up)_proj(\.weight)?$|input_linear\.weight$", "ffn_up"),
    (r"(experts\.\{expert\}|feed_forward)\.w2\.weight$|down_proj(\.weight)?$|output_linear\.weight$", "ffn_down"),
    (r"\bconv\.in_proj\.weight$", "conv_in"),
    (r"\bconv\.out_proj\.weight$", "conv_out"),
    (r"\bconv\.conv\.weight$", "conv_kernel"),
    (r"(mixer|mamba)\.in_proj\.weight$", "ssm_in"),
    (r"(mixer|mamba)\.x_proj\.weight$", "ssm_x"),
    (r"(mixer|mamba)\.dt_proj\.weight$", "ssm_dt"),
    (r"(mixer|mamba)\.out_proj\.weight$", "ssm_out"),
    (r"(mixer|mamba)\.conv1d\.weight$", "ssm_conv"),
    (r"(mixer|mamba)\.(A_log|D)$", "ssm_state"),
)  # fmt: skip


def language_role(name: str) -> LanguageRole:
    """The part that a tensor of a language model plays, from its name on the hub; the first pattern that fits wins."""
    return next((role for pattern, role in _LANGUAGE_ROLES if re.search(pattern, name)), "other")
