"""How libraries say that memory ran out."""

from __future__ import annotations

SIGNS = (
    "allocate memory", "bad_alloc", "bad allocation", "out of memory", "Failed to allocate", "mmap failed",
    "STATUS_ALLOC_FAILED", "STATUS_NOT_INITIALIZED", "Invalid buffer size",
)  # fmt: skip
"""Parts of their messages."""


def says_out_of_memory(text: str) -> bool:
    """Whether a message means that memory ran out."""
    return any(sign in text for sign in SIGNS)


def out_of_memory(error: BaseException) -> str | None:
    """What to say of an error that means that memory ran out; None for any other."""
    text = str(error)
    if isinstance(error, MemoryError):
        return text or "the process could not get more memory"
    # torch.OutOfMemoryError, by its name: this module is read before torch is.
    if type(error).__name__ == "OutOfMemoryError" or says_out_of_memory(text):
        return (text.strip().splitlines() or ["out of memory"])[0]
    return None
