"""A model as people know it: words, licence, configuration, claims. The numbers that follow from it are in its trace."""

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from fitcard.catalog.schema.record import ID, UNVERIFIED, Date, Id, Many, Name, Record, Slug, Sources, Text, Url

ModelId = Annotated[str, StringConstraints(max_length=200, pattern=rf"{ID[:-1]}/{ID[1:]}")]
"""`org/name`, each an id of its own."""


class Licence(Record):
    """What may be done with the weights."""

    id: Text
    """SPDX identifier, or the hub's own."""
    commercial_use: Literal["allowed", "not allowed", "restricted", "not known"]
    """Whether the weights, or what they put out, may be sold."""
    conditions: Text
    """What the licence asks for, in a sentence."""
    source: Slug
    """Where that was read: a key of `sources:`, or `unverified`."""


class Claim(Record):
    """A figure that somebody published about the model."""

    key: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """The name by which prose refers to it: `{claim.KEY}`."""
    what: Text
    """What was measured, for the row of the table."""
    value: float | int
    """The figure as it is printed there."""
    unit: Text
    """Its unit, `%` or `points` for instance."""
    where: Text
    """The table, section or line in the source."""
    source: Slug
    """Where it stands: a key of `sources:`."""


class UsedBy(Record):
    """Somebody else's model that contains this one."""

    name: Name
    """The name of that model."""
    how: Text
    """How it contains this one, and what says so, in a sentence."""
    source: Slug
    """Where that was read: a key of `sources:`."""


class Correction(Record):
    """Something that another page says of this model, and what is so."""

    said: Text
    """What is said there, word for word."""
    by: Text
    """Who says it."""
    so: Text
    """What is so, with facts as placeholders."""
    source: Slug
    """Where it is said, or where what is so was read: a key of `sources:`."""


class Model(Record):
    """One model. Its id is the path of its file."""

    name: Name
    """How people call it."""
    aliases: Many[Name] = ()
    """Other ways to type it; the id and the name work anyway. No other model may have the same."""
    verdict: Text
    """One sentence: who should take it, and who should not."""
    tasks: Many[Name] = Field(min_length=1)
    """What it is for: zero-shot image classification, text embedding."""
    family: Name
    """Models of one family are compared with each other first."""
    timm: Id | None = None
    """What timm calls the very same image tower. Of models that share a tower one alone has it, so that a figure stands once."""
    license: Licence
    """The licence of the weights, and what it permits."""
    released: Date | None = None
    """The day on which the weights could first be had."""
    released_source: Slug | None = None
    """Where that was read: a key of `sources:`, or `unverified`; needed when `released` is given."""
    config: dict[str, Any]
    """The Hugging Face configuration, as far as it differs from the defaults of its `model_type`."""
    config_source: Slug
    """Where the configuration was read: a key of `sources:`, or `unverified`."""
    context_tokens: Annotated[int, Field(ge=1)] | None = None
    """The longest text that it reads, where it reads text."""
    overview: Text
    """What it is, how it was made, what it does, as Markdown; numbers as placeholders such as {total_parameters}."""
    strengths: Many[Text] = Field(min_length=1)
    """What its users praise, each a sentence or two."""
    weaknesses: Many[Text] = Field(min_length=1)
    """What its users complain about, each a sentence or two."""
    claims: Many[Claim] = ()
    """Figures that others published about it; prose names one as {claim.KEY}."""
    used_by: Many[UsedBy] = ()
    """Other people's models that contain this one."""
    successor: ModelId | None = None
    """The id of the model in the catalog that came after it."""
    corrections: Many[Correction] = ()
    """Where a page that people read is wrong about it."""
    links: dict[Name, Url] = {}
    """Where to get it and read about it; the hub's page is known from the id."""
    usage: Text | None = None
    """How to run it, as code."""
    reviewed: Date
    """The day on which somebody last held the file to its sources."""
    reviewed_by: Name
    """Who did."""
    sources: Sources
    """The documents that its facts were read in, by the short keys that name them."""

    @model_validator(mode="after")
    def _sources_known(self) -> Self:
        named = {self.license.source, self.config_source, self.released_source}
        for facts in (self.claims, self.used_by, self.corrections):
            named |= {fact.source for fact in facts}
        if unknown := sorted(key for key in named if key and key != UNVERIFIED and key not in self.sources):
            raise ValueError(f"no source {', '.join(unknown)} under `sources:` (there are: {', '.join(self.sources)})")
        if self.released and not self.released_source:
            raise ValueError("released has no released_source")
        if "model_type" not in self.config:
            raise ValueError("config has no model_type")
        return self

    @property
    def config_sha256(self) -> str:
        return config_sha256(self.config)

    def unverified(self) -> tuple[str, ...]:
        """The facts that nobody has read in a source."""
        facts = [("license", self.license.source), ("config", self.config_source), ("released", self.released_source)]
        facts += [(f"claims: {claim.what}", claim.source) for claim in self.claims]
        facts += [(f"used_by: {user.name}", user.source) for user in self.used_by]
        facts += [(f"corrections: {correction.said}", correction.source) for correction in self.corrections]
        return tuple(name for name, source in facts if source == UNVERIFIED)

    def facts(self) -> int:
        """How many sourced facts there are."""
        return 2 + bool(self.released_source) + len(self.claims) + len(self.used_by) + len(self.corrections)


def config_sha256(config: dict[str, Any]) -> str:
    """Identifies a configuration, so that a trace of an older one is noticed."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
