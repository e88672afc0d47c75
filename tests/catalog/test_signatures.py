"""Signatures of runs: what whoever recorded one signed is told from what anybody else made of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fitcard.catalog import Catalog, load
from fitcard.catalog.errors import FitcardError
from fitcard.catalog.linters import impossible, problems, untrue_on_pages
from fitcard.catalog.schema.run import Run, sealed
from fitcard.catalog.signatures import recorded_by, signature
from fitcard.catalog.storage.writer import add_run
from tests.catalog.test_forged_runs import genuine
from tests.conftest import Cli


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two people's keys."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("octocat", "mallory"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
    return folder / "octocat", folder / "mallory"


def public(key: Path) -> str:
    return key.with_suffix(".pub").read_text().strip()


def with_signature(run: Run, signature: str | None, **changes: Any) -> Run:
    """The run with another signature or other values, and the right key: whoever forges a record can work that out."""
    return sealed({**run.model_dump(mode="json", exclude={"key"}), "signature": signature, **changes})


def said(root: Path, run: Run, **signers: list[str]) -> list[str]:
    """What the linters say of the run in a catalog with these signers."""
    (root / "signers.yaml").write_text(yaml.safe_dump({"signers": signers}))
    for old in (root / "runs").glob("*/*/*.yaml"):
        old.unlink()
    add_run(root / "runs", run)
    catalog = load(root)
    faults = [f"{fault.field} {fault.message}" for fault in impossible(catalog, catalog.run(run.key))]
    assert [problem.message for problem in untrue_on_pages(catalog)] == [f.partition(" ")[2] for f in faults]
    return faults


def test_only_what_a_signer_signed_passes(copied: Path, real: Catalog, keys: tuple[Path, Path]) -> None:
    """In a name that has keys: a whole record. Not a changed one with the right key, one signed by another, or one without."""
    own, foreign = keys
    octocat = {"octocat": [public(foreign).replace("mallory", "old key"), public(own)]}
    run = recorded_by(sealed(genuine(real)), "octocat", own)
    assert run.recorded_by == "octocat"
    assert said(copied, run, **octocat) == []
    changed = with_signature(run, run.signature, load_s=1.5)
    not_hers = ["signature is not one that 'octocat' gave to this record"]
    assert said(copied, changed, **octocat) == not_hers
    assert said(copied, run, octocat=[public(foreign)]) == not_hers
    assert said(copied, with_signature(run, "AAAA"), **octocat) == not_hers
    unsigned = recorded_by(run, "octocat", None)
    assert unsigned.signature is None
    assert said(copied, unsigned, **octocat) == [
        "signature is missing: 'octocat' signs every run, as signers.yaml says"
    ]
    assert said(copied, unsigned, mallory=[public(foreign)]) == []
    mallory = recorded_by(run, "mallory", foreign)
    assert said(copied, mallory, **octocat) == ["signature is of 'mallory', who has no key in signers.yaml"]


def test_a_signature_of_something_else_is_none_of_a_run(copied: Path, real: Catalog, keys: tuple[Path, Path]) -> None:
    """What the same key signed for another purpose, such as a commit of git with the same text."""
    run = recorded_by(sealed(genuine(real)), "octocat", keys[0])
    content = json.loads(run.model_dump_json(exclude={"key", "signature"}, exclude_defaults=True))
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    words = ["ssh-keygen", "-Y", "sign", "-n", "git", "-f", str(keys[0])]
    other = subprocess.run(words, input=text, capture_output=True, text=True, check=True).stdout.splitlines()
    assert signature(text, keys[0]) == run.signature
    assert said(copied, with_signature(run, "".join(other[1:-1])), octocat=[public(keys[0])]) == [
        "signature is not one that 'octocat' gave to this record"
    ]


@pytest.mark.parametrize(
    "key", ["nonsense", "ssh-ed25519 AAAA\nsigner ssh-ed25519 BBBB", "* ssh-ed25519 AAAA", "cert-authority ssh-rsa A"]
)
def test_a_line_that_is_no_key_is_refused(key: str, copied: Path) -> None:
    (copied / "signers.yaml").write_text(yaml.safe_dump({"signers": {"octocat": [key]}}))
    with pytest.raises(FitcardError, match=r"signers.yaml:\d+: signers.octocat.0"):
        load(copied)


def test_without_openssh_nothing_is_taken_for_signed(
    copied: Path, real: Catalog, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and nothing is kept of it: with OpenSSH back it is looked at again."""
    run = recorded_by(sealed(genuine(real)), "octocat", keys[0])
    with monkeypatch.context() as without:
        without.setenv("PATH", "")
        with pytest.raises(FitcardError, match="signatures of runs need OpenSSH's ssh-keygen, which is not installed"):
            said(copied, run, octocat=[public(keys[0])])
    assert [one for one in problems(load(copied)) if one.field.endswith("signature")] == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--sign", "{key}"], "--sign needs --recorded-by"),
        (["--recorded-by", "a\nb"], "--recorded-by takes a name on one line, and not 'a\\nb'"),
        (["--recorded-by", "octocat", "--sign", "{key}.gone"], "does not exist"),
        (["--recorded-by", "octocat", "--sign", __file__], "ssh-keygen could not sign with it: "),
    ],
)
def test_what_cannot_be_signed_is_refused_before_hours_of_running(
    words: list[Any], line: str, cli: Cli, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    filled = [word.format(key=keys[0]) for word in words]
    done = cli("profile", "google/siglip-so400m-patch14-384", "--output", tmp_path, *filled)
    assert done.returncode != 0
    assert line in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
