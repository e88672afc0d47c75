"""Signatures of runs, made and verified by OpenSSH's own `ssh-keygen`, with the SSH key that people have anyway."""

from __future__ import annotations

import subprocess
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path

from fitcard.catalog.errors import FitcardError, shown
from fitcard.catalog.schema.run import Run, sealed, signed_text

_NAMESPACE = "fitcard-run"
"""So that a signature of something else that somebody once made is none of a run."""
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


def recorded_by(run: Run, name: str, key: Path | None) -> Run:
    """The run under that name, signed where a key is given. Raises FitcardError."""
    fields = run.model_dump(mode="json", exclude={"key", "signature"}) | {"recorded_by": name}
    return sealed(fields | {"signature": signature(signed_text(sealed(fields)), key)} if key else fields)


def signature(text: str, key: Path) -> str:
    """The signature of a text, without the lines around it; a public key's private half is asked of the agent. Raises
    FitcardError where there is none."""
    done = _ssh_keygen(["sign", "-f", str(key)], text)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise FitcardError(f"{shown(key)}: ssh-keygen could not sign with it: {said}")
    return "".join(done.stdout.split()).removeprefix(_BEGIN.replace(" ", "")).removesuffix(_END.replace(" ", ""))


def is_signed(run: Run, keys: Sequence[str]) -> bool:
    """Whether a run's signature is over its content, by one of these keys."""
    with tempfile.TemporaryDirectory(prefix="fitcard-signature-") as folder:
        signers, file = Path(folder, "signers"), Path(folder, "signature")
        signers.write_text("".join(f"signer {key}\n" for key in keys))
        file.write_text("\n".join((_BEGIN, *textwrap.wrap(run.signature or "", 70), _END, "")))
        words = ["verify", "-I", "signer", "-f", str(signers), "-s", str(file)]
        return _ssh_keygen(words, signed_text(run)).returncode == 0


def _ssh_keygen(words: list[str], text: str) -> subprocess.CompletedProcess[str]:
    command = ["ssh-keygen", "-Y", words[0], "-n", _NAMESPACE, *words[1:]]
    try:
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise FitcardError("signatures of runs need OpenSSH's ssh-keygen, which is not installed") from None
