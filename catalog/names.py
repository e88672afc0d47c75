"""Finding a model, GPU or quantization by the name that a person types."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import AmbiguousName, UnknownName, listed, shorten
from fitcard.catalog.gpu_names import SHOWN, GpuMatch, GpuNames
from fitcard.catalog.storage.memo import memo

_HUB = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?:models/)?([^/\s?#@]+/[^/\s?#@]+)\S*", re.I)
_PREFIX = re.compile(r"(?:hf-hub:|hf_hub:|hf://|timm:)?(?:timm/)?", re.I)


def find_model(catalog: Catalog, typed: str) -> str:
    """The id of the model that `typed` means: an id or name of the catalog, a hub address, a name of timm or open_clip.

    Raises UnknownName when no model has the name, AmbiguousName when several do.
    """
    return _find("model", typed, _model_name(typed), model_names(catalog))


def hub_id(typed: str) -> str:
    """The id in an address of the hub; anything else as it is."""
    found = _HUB.fullmatch(typed.strip())
    return found[1] if found else typed.strip()


def model_names(catalog: Catalog) -> dict[str, list[str]]:
    """Everything that each model is called."""
    return {
        key: [name for name in (key, key.split("/")[-1], model.name, *model.aliases, model.timm) if name]
        for key, model in catalog.model_index.items()
    }


def match_gpu(catalog: Catalog, typed: str) -> GpuMatch:
    """The GPU that `typed` means, how many of it ("2x RTX 3090"), and what was assumed where the memory is left open.

    Raises UnknownName when no GPU has the name, AmbiguousName when several do.
    """
    try:
        return GpuMatch(*_match(catalog, typed))
    except AmbiguousName:
        raise
    except UnknownName as unknown:
        if (device := _device(catalog, typed)) is None:
            raise unknown from None
        return GpuMatch(device, 1, None)


@memo
def _match(catalog: Catalog, typed: str) -> tuple[str, int, str | None]:
    """What a name means, in parts: to take every name apart for it takes a tenth of a short answer's time."""
    match = gpu_index(catalog).match(typed)
    return match.gpu, match.count, match.assumption


def find_gpu(catalog: Catalog, typed: str) -> str:
    """The id of the one GPU that `typed` means. Raises UnknownName like `match_gpu`, and for more than one GPU."""
    match = match_gpu(catalog, typed)
    if match.count != 1:
        raise UnknownName(f"{shorten(typed)} is {match.count} GPUs, and this takes one: type {match.gpu}.")
    return match.gpu


def gpu_index(catalog: Catalog) -> GpuNames:
    """The names of all GPUs. Building it takes some milliseconds: build it once to look many names up."""
    return GpuNames(catalog.gpu_index)


def gpu_names(catalog: Catalog) -> dict[str, list[str]]:
    """Everything that each GPU is called."""
    return {key: [key, gpu.name, gpu.spec_name, *gpu.aliases] for key, gpu in catalog.gpu_index.items()}


def find_quantization(catalog: Catalog, typed: str, *, language: bool = False) -> str:
    """The label that `typed` means, whatever its case, of those for encoders or for a `language` model. Raises UnknownName, or
    AmbiguousName for `8bit` and its like."""
    labels = catalog.labels_of("language" if language else "all")
    names = {label: [label, *quantization.aliases] for label, quantization in labels.items()}
    return _find("quantization", typed, typed, names)


def joined(text: str) -> str:
    """A name as it is compared: two that are equal so are one name to whoever types it."""
    return re.sub(r"[\W_]+", "", text.lower())


def _model_name(typed: str) -> str:
    """The id or name inside an address of the hub, or behind the prefix of timm or open_clip."""
    text = hub_id(typed)
    return _PREFIX.sub("", text.partition("@")[0], count=1) or text


def _device(catalog: Catalog, typed: str) -> str | None:
    """The id of the one processor among the runs that `typed` means."""
    devices = {run.device for run in catalog.run_index} - set(catalog.gpu_index)
    words = set(_words(typed))
    exact = [device for device in devices if joined(device) == joined(typed)]
    fitting = exact or [device for device in devices if words and words <= set(_words(device))]
    return fitting[0] if len(fitting) == 1 else None


def _find(kind: str, typed: str, name: str, names: Mapping[str, Iterable[str]]) -> str:
    """The one key with the name: an equal name first, then a name that has every word of it."""
    whole, words = joined(name), set(_words(name))
    fitting = [key for key, own in names.items() if any(joined(each) == whole for each in own)] if whole else []
    if not fitting and words:
        fitting = [key for key, own in names.items() if any(words <= set(_words(each)) for each in own)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise AmbiguousName(
            f"{shorten(typed)} matches {len(fitting)} {kind}s: {listed(sorted(fitting), SHOWN)}. "
            "Type one of these, or more of the name."
        )
    near = _neighbours(name, names)
    advice = f"near it: {', '.join(near)}" if near else f"there are {len(names)}, such as {', '.join(list(names)[:5])}"
    raise UnknownName(f"no {kind} is called {shorten(typed)} ({advice}).")


def _neighbours(name: str, names: Mapping[str, Iterable[str]]) -> list[str]:
    """Keys with a name spelled alike."""
    spelled = {joined(each): key for key, own in names.items() for each in own}
    spelled |= {word: key for key, own in names.items() for each in own for word in _words(each) if len(word) > 3}
    near = difflib.get_close_matches(joined(name), list(spelled), n=SHOWN, cutoff=0.7)
    return list(dict.fromkeys(spelled[each] for each in near))


def _words(text: str) -> list[str]:
    """Lower-case words and numbers: `siglip so400m` is siglip, so400m."""
    return re.findall(r"[^\W_]+", text.lower())
