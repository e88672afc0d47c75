"""Who signs the runs that they record, and with which keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from fitcard.catalog.schema.record import Many, Name, Record

PublicKey = Annotated[
    str, StringConstraints(pattern=r"^(sk-)?(ssh|ecdsa)-[A-Za-z0-9@.-]+ [A-Za-z0-9+/]+=*( [^\n\r]*)?$")
]
"""A line of `~/.ssh/id_....pub`."""


class SignersFile(Record):
    """The file `signers.yaml`."""

    signers: dict[Name, Many[PublicKey]]
    """The keys of each person, by the name under which they record runs. Every run under that name must be signed."""
