"""One line of a label's rule: the tensors that it is for, by role, layer and model, and the type that they get."""

from typing import Literal

from fitcard.catalog.schema.record import Many, Record
from fitcard.catalog.schema.tensor_types import TensorTypeName
from fitcard.catalog.schema.trace import Kind, Role, Tensor, Trait

Layers = Literal["all", "more_bits", "first_two", "first_four", "first_sixteenth", "first_eighth"]


class Rule(Record):
    """Tensors that get a type of their own. The first rule of a label that fits a tensor decides."""

    roles: Many[Role] = ()
    """The parts that it is for; empty means all."""
    kinds: Many[Kind] = ("linear", "embedding")
    """The kinds of module whose weights it is for."""
    layers: Layers = "all"
    """`more_bits`: the first and last eighth of the layers and every third between, as llama.cpp's `use_more_bits`."""
    by_place: bool = False
    """Whether `layers` counts the tensors of a role in a mixture of experts too, where it goes by the layer's own
    number else."""
    traits: Many[Trait] = ()
    """What must all hold of the model."""
    stacked: bool = False
    """Whether it is only for tensors of three dimensions, as experts are."""
    type: TensorTypeName | None = None
    """The type that those tensors get; null for the label's own `weight_type`."""
    unless_row_fits: TensorTypeName | None = None
    """The type to take instead when the row is no multiple of the label's own block."""


def applies(rule: Rule, tensor: Tensor, place: int | None) -> bool:
    """Whether a rule is for a tensor; `place` is which of its layers it is, if it is one of a stack."""
    return is_for(rule, tensor) and _in_layers(rule, tensor, place)


def is_for(rule: Rule, tensor: Tensor) -> bool:
    """Whether a rule is for tensors of this sort, in whatever layer."""
    return (
        tensor.role in (rule.roles or (tensor.role,))
        and tensor.kind in rule.kinds
        and (not rule.traits or set(rule.traits) <= set(tensor.traits or ()))
        and (len(tensor.shape) == 3 or not rule.stacked)
    )


def _in_layers(rule: Rule, tensor: Tensor, place: int | None) -> bool:
    if rule.layers == "all":
        return True
    if place is None or tensor.layers is None:
        return False
    layer, count = _layer_as_counted(rule, tensor, place), tensor.stack or tensor.layers
    if rule.layers == "first_two":
        return layer < 2
    if rule.layers == "first_four":
        return layer < 4
    if rule.layers == "first_sixteenth":
        return layer < count // 16
    eighth = count // 8
    if rule.layers == "first_eighth":
        return layer < eighth
    return layer < eighth or layer >= 7 * count // 8 or (layer - eighth) % 3 == 2


def _layer_as_counted(rule: Rule, tensor: Tensor, place: int) -> int:
    """llama.cpp counts the tensors of a role as they come; in a mixture it reads the layer from the name of
    feed-forward ones."""
    if "mixture" in (tensor.traits or ()) and tensor.role.startswith("ffn") and not rule.by_place:
        return tensor.numbers[place] if tensor.numbers else place
    return tensor.ordinals[place] if tensor.ordinals else place
