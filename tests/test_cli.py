"""The command line as a process: what a call in this process cannot show. What commands say is tested by calls."""

from __future__ import annotations

import json

import pytest

from tests.conftest import in_a_process, in_this_process


def test_a_process_says_what_a_call_says() -> None:
    """The same output and exit code, and on standard error no traceback."""
    for words, code in (
        (["fit", "siglip so400m", "--gpu", "RTX 4060", "--quant", "BF16", "--json"], 0),
        (["fit", "so400m", "--gpu", "4090", "--quant", "Q9"], 2),
    ):
        process, call = in_a_process(words), in_this_process(words)
        assert (process.returncode, process.stdout, process.stderr) == (code, call.stdout, call.stderr)
        assert "Traceback" not in process.stderr
        assert not code or len(process.stderr.strip().splitlines()) == 1
    assert json.loads(in_this_process(["fit", "so400m", "--gpu", "4060", "--json"]).stdout)["gpu"] == "rtx-4060"


def test_a_call_shows_what_nobody_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test which asks for no traceback can fail."""

    def fault(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("fitcard.advisor.cli.load", fault)
    done = in_this_process(["fit", "so400m", "--gpu", "4060"])
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "RuntimeError: a fault" in done.stderr
