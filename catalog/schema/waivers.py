"""Exceptions: what a linter finds fault with and is so all the same, each with the reason."""

from fitcard.catalog.schema.record import Many, Record, Text


class Excepted(Record):
    """One fault that is none."""

    linter: Text
    """The linter that reports it: its file in catalog/linters, without the ending."""
    file: Text
    """The file's path below the catalog, such as `gpus/nvidia-ada.yaml`."""
    field: Text
    """The field, as the report names it."""
    why: Text
    """Why it is so, and where that was read."""


class ExceptionsFile(Record):
    """The file `exceptions.yaml`."""

    exceptions: Many[Excepted] = ()
    """Each is reported in its turn once its linter no longer finds that fault."""
