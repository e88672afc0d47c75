"""What a configuration says that transformers would not assume anyway."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from fitcard.catalog.errors import FitcardError
from fitcard.profiler.meta_model import architecture, resolve

_SILENT = re.compile(
    r"architectures|auto_map|id2label|label2id|num_labels|problem_type|_?name_or_path|transformers_version|(torch_)?dtype"
    r"|use_cache|return_dict|output_(attentions|hidden_states)|gradient_checkpointing|task_specific_params|finetuning_task"
    r"|(bos|eos|sep|cls|mask|decoder_start)_token_id|\w*(dropout|drop_path|drop_rate)\w*|\w*initializer\w*|logit_scale_init_value"
)
"""Names of what changes neither a tensor nor an operation: provenance, labels, training, decoding."""
_Place = tuple[str, ...]


def minimal_config(config: dict[str, Any]) -> dict[str, Any]:
    """`config` without what changes nothing: what its model_type has by default, what its class does not read, and
    the silent names.

    Whether something changes a configuration is not guessed but tried: it is left out where transformers then
    resolves to the
    same. Raises FitcardError for a configuration that the installed transformers does not take.
    """
    minimal = copy.deepcopy(config)
    read = _heard(resolve({"model_type": config["model_type"]}).to_dict())
    meaning = _meaning(minimal, read)
    for place in list(_places(minimal)):
        shorter = _without(minimal, place)
        try:
            same = _meaning(shorter, read) == meaning
        except FitcardError:
            continue
        if same:
            minimal = shorter
    if "architectures" in config and _class(minimal) != _class(config):
        minimal["architectures"] = config["architectures"]
    return {"model_type": minimal.pop("model_type"), **minimal}


def _class(config: dict[str, Any]) -> tuple[type, tuple[str, ...]] | None:
    """What is built for a configuration, and what is to be said of it; None for one that is refused."""
    try:
        chosen = architecture(config)
    except FitcardError:
        return None
    return chosen.model, chosen.notes


def _meaning(config: dict[str, Any], read: dict[str, Any]) -> dict[str, Any]:
    """What a configuration resolves to, as far as its class reads it: a name that the class has no default for is
    nobody's."""
    return _only(_heard(resolve(config).to_dict()), read)


def _heard(value: Any) -> Any:
    """A value without the silent names in it."""
    if isinstance(value, dict):
        return {name: _heard(item) for name, item in value.items() if not _SILENT.fullmatch(str(name))}
    return value


def _only(value: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """The parts of `value` that `names` has too; all of a part that is empty there, or None."""
    return {
        name: _only(item, names[name]) if isinstance(item, dict) and names[name] and isinstance(names[name], dict) else item
        for name, item in value.items() if name in names
    }  # fmt: skip


def _places(config: dict[str, Any], above: _Place = ()) -> Iterator[_Place]:
    """Every key but the outermost model_type, those around others first."""
    for name, value in config.items():
        place = (*above, name)
        if place != ("model_type",):
            yield place
        if isinstance(value, dict):
            yield from _places(value, place)


def _without(config: dict[str, Any], place: _Place) -> dict[str, Any]:
    """The configuration without the value at `place`; itself where that is gone already."""
    name, *inner = place
    if name not in config:
        return config
    if not inner:
        return {key: value for key, value in config.items() if key != name}
    return {**config, name: _without(config[name], tuple(inner))}
