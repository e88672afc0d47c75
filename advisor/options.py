"""Options of the command line that say what goes in, gathered into one workload."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click

from fitcard.advisor import fit
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.schema.workload import CacheType, Workload
from fitcard.catalog.units import parse_tokens

F = TypeVar("F", bound=Callable[..., Any])

LONGEST = 0
"""What `--context max` becomes: as long as the model reads."""


class TokenCount(click.ParamType[int]):
    """A number of tokens as people type it: 32768, 32k or 32K; `max` where that is allowed."""

    name = "tokens"

    def __init__(self, most: bool = False) -> None:
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number. Fails with a usage error for anything else."""
        if isinstance(value, int):
            return value
        if self.most and str(value).strip().lower() == "max":
            return LONGEST
        try:
            return parse_tokens(str(value))
        except FitcardError as error:
            self.fail(f"{error}{', or max' if self.most else ''}", param, ctx)


_ENCODERS = (
    click.option(
        "--image-size",
        type=click.IntRange(1, 1 << 14),
        help="Pixels along each side of an image. Default: what the model is made for; others are traced, with torch.",
    ),
    click.option(
        "--tokens",
        type=click.IntRange(1, 1 << 20),
        help="Tokens of one text. Default: the most that the model takes; others are traced, with torch.",
    ),
)
_LANGUAGE = (
    click.option("--ubatch", type=click.IntRange(1, 1 << 16), help="Tokens of one pass of llama.cpp. Default: 512."),
    click.option(
        "--cache-type",
        type=click.Choice(get_args(CacheType)),
        help="Type of cached keys and values of a language model. Default: f16.",
    ),
    click.option("--parallel", type=click.IntRange(1, 256), help="Sequences at once of a language model. Default: 1."),
    click.option("--prompt", type=TokenCount(), help="Tokens of a language model's prompt. Default: 512."),
    click.option(
        "--context",
        type=TokenCount(most=True),
        help="Tokens of context of a language model, of each sequence: 8192, 32k or max. Default: 4096.",
    ),
)
_BATCH = click.option(
    "--batch",
    type=click.IntRange(1, fit.MOST_BATCH),
    default=1,
    show_default=True,
    help="Images or texts in one forward pass.",
)


def workload_options(*, batch: bool) -> Callable[[F], F]:
    """The options of a command that is given one `workload`."""

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def gathered(
            *args: Any,
            tokens: int | None,
            image_size: int | None,
            context: int | None,
            prompt: int | None,
            parallel: int | None,
            cache_type: CacheType | None,
            ubatch: int | None,
            batch: int = 1,
            **rest: Any,
        ) -> Any:
            workload = Workload(
                batch=batch,
                image_size=image_size,
                text_tokens=tokens,
                context_tokens=context,
                prompt_tokens=prompt,
                parallel=parallel,
                cache_type=cache_type,
                ubatch=ubatch,
            )
            return command(*args, workload=workload, **rest)

        optioned: Any = gathered
        for option in (*_ENCODERS, *_LANGUAGE, *([_BATCH] if batch else [])):
            optioned = option(optioned)
        return optioned  # type: ignore[no-any-return]

    return decorate
