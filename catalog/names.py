"""Finding a model, card or quantization by the name that a person types."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import UnknownName, shorten


def find_model(catalog: Catalog, typed: str) -> str:
    """The id of the model that `typed` means. Raises UnknownName when none or several do."""
    return _find("model", typed, model_names(catalog))


def model_names(catalog: Catalog) -> dict[str, list[str]]:
    """Everything that each model is called."""
    return {key: [key, key.split("/")[-1], model.name, *model.aliases] for key, model in catalog.model_index.items()}


def find_gpu(catalog: Catalog, typed: str) -> str:
    """The id of the card that `typed` means. Raises UnknownName when none or several do."""
    names = gpu_names(catalog)
    for device in {run.device for run in catalog.run_index} - set(names):
        names[device] = [device]
    return _find("GPU", typed, names)


def gpu_called(catalog: Catalog, name: str) -> str | None:
    """The id of the one card that has this very name, as programs write it; None where none or several have it."""
    bare = re.sub(r"(?i)^(nvidia|amd|intel|apple)\s+", "", name.strip())
    wanted = {joined(name), joined(bare)} - {""}
    fitting = [key for key, given in gpu_names(catalog).items() if any(joined(each) in wanted for each in given)]
    return fitting[0] if len(fitting) == 1 else None


def gpu_names(catalog: Catalog) -> dict[str, list[str]]:
    """Everything that each card is called, each name also with its memory."""
    names: dict[str, list[str]] = {}
    for key, card in catalog.gpu_index.items():
        memory = f"{card.memory_gib:g}GB"
        names[key] = [key, card.name, card.spec_name, *card.aliases]
        names[key] += [f"{name} {memory}" for name in (card.spec_name, *card.aliases)]
    return names


def find_quantization(catalog: Catalog, typed: str) -> str:
    """The label that `typed` means, whatever its case."""
    return _find("quantization", typed, {label: [label] for label in catalog.quantizations})


def _find(kind: str, typed: str, names: Mapping[str, Iterable[str]]) -> str:
    """The one key whose names fit `typed`: an equal name first, then a name that has every word of it."""
    wanted = _words(typed)
    if wanted:
        whole = joined(typed)
        equal = [key for key, given in names.items() if any(joined(name) == whole for name in given)]
        if len(equal) == 1:
            return equal[0]
        fitting = equal or [
            key for key, given in names.items() if any(set(wanted) <= set(_words(name)) for name in given)
        ]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise UnknownName(f"{shorten(typed)} fits several: {', '.join(sorted(fitting))}. Type more of the name.")
    spelled = {
        name.lower(): key
        for key, given in names.items()
        for name in (*given, *(word for name in given for word in _words(name)))
    }
    near = sorted({spelled[name] for name in difflib.get_close_matches(typed.lower(), list(spelled), n=5, cutoff=0.7)})
    there = f"near it: {', '.join(near)}" if near else f"there are {len(names)}, such as {', '.join(list(names)[:5])}"
    raise UnknownName(f"no {kind} is called {shorten(typed)} ({there}).")


def joined(text: str) -> str:
    """A name as it is compared: two that are equal so are one name to whoever types it."""
    return re.sub(r"[\W_]+", "", text.lower())


def _words(text: str) -> list[str]:
    """Lower-case words and numbers: `RTX 3080 12GB` is rtx, 3080, 12gb; `RTX4090` is rtx, 4090."""
    return re.findall(r"(?:rtx|gtx|rx|geforce)(?=\d)|[^\W_]+", text.lower())
