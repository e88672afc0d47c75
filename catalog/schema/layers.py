"""What the quantized layers of a label need and cost, as our own runs show it."""

from fitcard.catalog.schema.record import NotNegative, Record, Slug, Text
from fitcard.catalog.schema.tensor_types import TensorTypeName


class LayerMemory(Record):
    """What the layers of a label need for a moment besides activations; null where that is not known, as on devices
    that do not serve the label."""

    cpu_bytes_per_output: NotNegative | None
    """Bytes alive for each number that the largest matrix product puts out, on a processor."""
    gpu_bytes_per_output: NotNegative | None
    """The same on a GPU."""
    cpu_weight_copies: NotNegative | None
    """Copies of all its packed weights that the engine makes at the first pass and keeps, on a processor."""
    why: Text
    """What needs it."""
    source: Slug
    """Where that was read: a key of `sources:`, `measured` or `unverified`."""

    @property
    def most(self) -> float:
        """The most bytes that it needs for each output anywhere; 0 where it needs nothing."""
        return max(self.cpu_bytes_per_output or 0, self.gpu_bytes_per_output or 0)

    def bytes_per_output(self, vendor: str) -> float:
        """The bytes on a vendor's devices (`CPU` for a processor); what is not known counts as nothing."""
        return (self.cpu_bytes_per_output if vendor == "CPU" else self.gpu_bytes_per_output) or 0.0


class LayerSpeed(Record):
    """What the quantized layers of a label take on a GPU beyond those of BF16; null where that is not known."""

    layer_host_s: dict[TensorTypeName, NotNegative] | None
    """Seconds that the host needs for each layer in eager mode, by the type of its weights."""
    layer_bytes_per_output: NotNegative | None
    """Bytes moved for each number that a layer puts out in eager mode, to round its input and to scale its product."""
    unpack_bytes_per_weight: NotNegative | None
    """Bytes moved for each weight that is unpacked, once a pass."""
    why: Text
    """What takes it."""
    source: Slug
    """Where that was read: a key of `sources:`, `measured` or `unverified`."""
