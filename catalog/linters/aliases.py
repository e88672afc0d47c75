"""Names that several cards or several models answer to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from fitcard.catalog.catalog import Catalog
from fitcard.catalog.errors import Problem
from fitcard.catalog.gpu_names import parse
from fitcard.catalog.names import gpu_names, joined, model_names
from fitcard.catalog.yaml_file import Location

NAME = "aliases"
SCOPE = "files"


def check(catalog: Catalog) -> Iterator[Problem]:
    """Aliases and names that are, as they are matched, also a name of another: whoever types one gets an error instead of an answer."""
    cards = {key: card.spec.aliases for key, card in catalog.gpus.items()}
    for key, place, message in _shared(cards, gpu_names(catalog), _gpu_name):
        yield catalog.gpu_problem(key, place, message)
    models = {key: model.aliases for key, model in catalog.models.items()}
    for key, place, message in _shared(models, model_names(catalog), joined):
        yield catalog.problem("models", key, place, message)


def _gpu_name(text: str) -> tuple[str, tuple[float, ...]]:
    name = parse(text)
    return name.key, name.sizes


def _shared(
    aliases: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[str]], matched: Callable[[str], object]
) -> Iterator[tuple[str, Location, str]]:
    """The id, the place in its entry and the message for each alias that another one answers to."""
    owners: dict[object, set[str]] = {}
    for key, given in names.items():
        for name in given:
            owners.setdefault(matched(name), set()).add(key)
    for key, given in aliases.items():
        for index, alias in enumerate(given):
            others = sorted(owners[matched(alias)] - {key})
            if others:
                message = (
                    f"{alias!r} is a name of {', '.join(sorted([key, *others]))}: an alias must mean one of them alone"
                )
                yield key, ("aliases", index), message
