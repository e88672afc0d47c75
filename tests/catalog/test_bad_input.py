"""Bad data: one line that says where and what to do, exit code 1, nothing written, never a traceback."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fitcard.catalog import CatalogError, load
from fitcard.catalog.storage.writer import add_run
from fitcard.catalog.yaml_file import read_yaml
from tests.catalog.test_store import made_run
from tests.conftest import Cli

MODEL = "models/google/siglip-so400m-patch14-384.yaml"
CARDS = "gpus/nvidia-ada.yaml"


def spoil(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    text = path.read_text()
    assert text.count(old) >= 1, f"{old!r} is not in {file}"
    path.write_text(text.replace(old, new, 1))


def snapshot(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


CASES = {
    "wrong type": (CARDS, "memory_gib: 8\n", "memory_gib: eight\n", r"nvidia-ada\.yaml:\d+: gpus\.rtx-4060\.memory_gib: must be a number \(got 'eight'\)"),
    "unknown key": (MODEL, "family: SigLIP\n", "family: SigLIP\nfamliy: x\n", r"\.yaml:\d+: famliy: is not a known key"),
    "missing key": (MODEL, "family: SigLIP\n", "", r"\.yaml:2: family: is missing"),
    "missing source": (CARDS, "    name: GeForce RTX 4060\n", "    name: GeForce RTX 4060\n    gfx: gfx1\n", r"nvidia-ada\.yaml:\d+: gpus\.rtx-4060: no source for gfx: name one, or list them under `unverified`"),
    "source that is not there": (MODEL, "source: hub\n", "source: hbu\n", r"no source hbu under `sources:`"),
    "80e9": (CARDS, "bandwidth_gb_per_s: 272", "bandwidth_gb_per_s: 80e9", r"must be a number \(got '80e9'\); YAML readers disagree on '80e9': write 80000000000"),
    "tab": (MODEL, "  id: apache-2.0", "\tid: apache-2.0", r"\.yaml:\d+: is not well-formed YAML: a tab character: YAML is indented with spaces"),
    "key twice": (CARDS, "  rtx-4070:\n", "  rtx-4060:\n", r"gpus\.rtx-4060: is given twice \(first on line \d+\): keep one"),
    "number as text": (CARDS, "units: 24\n", 'units: "24"\n', r"units: must be a whole number \(got '24'\); write it without quotes"),
    "bandwidth that cannot be": (CARDS, "bandwidth_gb_per_s: 1008", "bandwidth_gb_per_s: 1080", r"gpus\.rtx-4090: bandwidth_gb_per_s is 1080, but 384 bit x 21 Gbit/s makes 1008"),
    "address that is none": (MODEL, "url: https://www.runlocalai.co", "url: javascript:alert(1)//", r"sources\.runlocalai\.url: is no address: it begins with https://"),
    "successor that is not there": (MODEL, "successor: google/siglip2-so400m-patch14-384", "successor: google/siglip3", r"successor: no model google/siglip3 in the catalog"),
    "configuration changed": (MODEL, "vocab_size: 32000", "vocab_size: 32001", r"config: is not the one that was traced: run `fitcard trace google/siglip-so400m-patch14-384`"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_one_line_with_place_and_advice(name: str, copied: Path) -> None:
    """Each planted fault is found, named by file, line and field, and nothing else is reported."""
    file, old, new, expected = CASES[name]
    spoil(copied, file, old, new)
    with pytest.raises(CatalogError) as caught:
        load(copied)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1, lines
    assert re.search(expected, lines[0]), lines[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", r":1: is empty: fill it in or delete it"),
        (b"# only a comment\n", r":1: holds nothing but comments"),
        (b"\x80\x81\x00binary", r":1: is not UTF-8 text \(byte 0 cannot be read\)"),
        (b"name: a\x00b\n", r":1: is not text \(it holds a NUL byte\)"),
        (b"- a\n- b\n", r":1: must be a list of `key: value` lines \(got \['a', 'b'\]\)"),
        (b"{name: [}", r":1: is not well-formed YAML"),
    ],
    ids=["empty", "comments", "binary", "nul", "list", "broken"],
)
def test_a_file_that_is_no_record(content: bytes, expected: str, copied: Path) -> None:
    (copied / MODEL).write_bytes(content)
    with pytest.raises(CatalogError) as caught:
        load(copied)
    assert re.search(expected, str(caught.value).splitlines()[0])


def test_a_card_id_in_two_files(copied: Path) -> None:
    """An id names one GPU in the whole catalog."""
    text = (copied / CARDS).read_text()
    (copied / "gpus" / "nvidia-other.yaml").write_text(text)
    with pytest.raises(
        CatalogError, match=r"gpus\.rtx-4090: is also in nvidia-ada\.yaml: an id names one GPU, rename one"
    ):
        load(copied)


def test_runs_lie_where_they_belong_and_are_of_what_is_there(copied: Path) -> None:
    """Of a file's runs exactly those are named that are of another device, or whose quantization or model is not in the catalog."""
    runs, good = copied / "runs", made_run(1)
    path = add_run(runs, good)
    machine = {**good.machine.model_dump(mode="json"), "device": "cpu-other"}
    other = add_run(copied / "elsewhere", made_run(2, machine=machine))
    mixed = {"runs": [*read_yaml(path)[0]["runs"], *read_yaml(other)[0]["runs"]]}
    before = path.read_text()
    path.write_text(json.dumps(mixed))
    with pytest.raises(CatalogError) as caught:
        load(copied)
    name = path.relative_to(copied).as_posix()
    moved = name.replace(good.machine.device, "cpu-other")
    assert str(caught.value).endswith(f"{name}:1: runs.1: is a run of {good.model} on cpu-other: move it to {moved}")
    assert len(caught.value.problems) == 1
    path.write_text(before)
    label, model = made_run(3, quantization="Q9_9"), made_run(4, model="google/gone")
    add_run(runs, label)
    add_run(runs, model)
    with pytest.raises(CatalogError) as caught:
        load(copied)
    assert {(problem.field, problem.message) for problem in caught.value.problems} == {
        (label.key, "no quantization 'Q9_9' in the catalog"), (model.key, "no model google/gone in the catalog"),
    }  # fmt: skip


def test_every_fault_of_all_files_is_reported_at_once(copied: Path) -> None:
    spoil(copied, CARDS, "memory_gib: 8\n", "memory_gib: eight\n")
    spoil(copied, MODEL, "family: SigLIP\n", "")
    with pytest.raises(CatalogError) as caught:
        load(copied)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("fit", "sigllip", "--gpu", "4090"), 2, r"no model is called 'sigllip' \(near it: .*siglip"),
        (("fit", "siglip", "--gpu", "4090"), 2, r"'siglip' matches 27 models: google/siglip-base-patch16-224, "),
        (("fit", "so400m", "--gpu", "rtx 9999"), 2, r"no GPU is called 'rtx 9999'"),
        (("fit", "so400m", "--gpu", "4090", "--quant", "Q9"), 2, r"no quantization is called 'Q9'"),
        (("fit", "so400m", "--gpu", "4090", "--batch", "0"), 2, r"0 is not in the range"),
        (("models", "--vram", "lots"), 1, r"--vram takes an amount such as 8GB .* \(got 'lots'\)"),
        (("models",), 2, r"give either --gpu or --vram"),
        (("nonsense",), 2, r"No such command 'nonsense'"),
        (
            ("profile", "so400m", "--weights", "/no/such/folder"),
            1,
            r"--weights takes random, hub, hub@REVISION or a checkpoint's folder",
        ),
        (("profile", "so400m", "--device", "cuda"), 1, r"no cuda device here that torch .* can use \(there is: cpu\)"),
    ],
)
def test_wrong_words_on_the_command_line(words: tuple[str, ...], code: int, expected: str, cli: Cli) -> None:
    done = cli(*words)
    assert done.returncode == code
    assert re.search(expected, done.stderr), done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_bad_catalog_is_one_line_for_every_command_and_nothing_is_written(
    copied: Path, cli: Cli, tmp_path: Path
) -> None:
    """`check`, `fit` and `build` all say the same line, exit with 1 and leave every file as it was."""
    spoil(copied, CARDS, "memory_gib: 8\n", "memory_gib: eight\n")
    before = snapshot(copied)
    for words in (("check",), ("fit", "so400m", "--gpu", "4090"), ("build", "--output", str(tmp_path / "out"))):
        done = cli(*words, catalog=copied)
        assert done.returncode == 1
        assert len(done.stderr.strip().splitlines()) == 1
        assert re.search(r"gpus/nvidia-ada\.yaml:\d+: gpus\.rtx-4060\.memory_gib: must be a number", done.stderr)
    assert snapshot(copied) == before
    assert not (tmp_path / "out").exists()


def test_a_catalog_folder_that_is_none(cli: Cli, tmp_path: Path) -> None:
    done = cli("check", catalog=tmp_path / "nowhere")
    assert done.returncode == 1
    assert "is not a folder: --catalog takes the folder that holds quantizations.yaml" in done.stderr


def test_a_number_in_prose_that_no_data_hold(copied: Path, cli: Cli) -> None:
    """A figure typed into prose must come from the data, or `check` names it."""
    spoil(copied, MODEL, "  - Apache-2.0, with no further", "  - Only 399 million parameters, with no further")
    done = cli("check", "--json", catalog=copied)
    assert done.returncode == 1
    problems = json.loads(done.stdout)["problems"]
    assert len(problems) == 1
    assert "strengths.2: states 399, which no data hold" in problems[0]


def test_a_placeholder_that_names_nothing(copied: Path, cli: Cli) -> None:
    spoil(copied, MODEL, "{vision_parameters} parameters", "{vison_parameters} parameters")
    done = cli("check", catalog=copied)
    assert done.returncode == 1
    assert "no fact is called {vison_parameters}" in done.stderr


def test_a_file_that_would_never_be_read(copied: Path) -> None:
    """At another depth, or with another ending, a file would be passed over in silence."""
    (copied / "models/orphan.yaml").write_text("name: x\n")
    (copied / "gpus/nvidia.yml").write_text("vendor: x\n")
    with pytest.raises(CatalogError) as caught:
        load(copied)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert re.search(r"gpus/nvidia\.yml:1: would not be read: files here are gpus/name\.yaml", lines[0])
    assert re.search(r"models/orphan\.yaml:1: would not be read: files here are models/\.\.\./name\.yaml", lines[1])


def test_a_vendor_that_no_runtime_serves(copied: Path) -> None:
    spoil(copied, CARDS, "vendor: NVIDIA", "vendor: Nvidia")
    with pytest.raises(
        CatalogError, match=r"vendor: runtimes\.yaml knows no runtime of Nvidia \(it knows: CPU, NVIDIA, "
    ):
        load(copied)


def test_faults_between_files_have_lines(copied: Path) -> None:
    spoil(copied, "published/google/siglip-so400m-patch14-384.yaml", "gpu: rtx-4090", "gpu: rtx-4091")
    with pytest.raises(
        CatalogError, match=r"siglip-so400m-patch14-384\.yaml:(?!1:)\d+: speeds\.0\.gpu: no GPU 'rtx-4091'"
    ):
        load(copied)


def test_two_files_with_the_same_faulty_content_are_both_named(copied: Path) -> None:
    """Each content is read once, but whoever mends it must find every file."""
    one, two = sorted((copied / "traces").rglob("*.json"))[:2]
    one.write_text("{")
    two.write_text("{")
    with pytest.raises(CatalogError) as caught:
        load(copied)
    assert {problem.path for problem in caught.value.problems} == {one, two}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_run_record_cut_off_in_the_middle(share: float, copied: Path, cli: Cli) -> None:
    """`check` names the file and the line, in one line, and changes nothing."""
    path = add_run(copied / "runs", made_run())
    text = path.read_text()
    path.write_text(text[: int(len(text) * share)])
    before = snapshot(copied)
    done = cli("check", catalog=copied)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert re.search(r"siglip-so400m-patch14-384\.yaml:\d+: (ends in the middle of a record|is damaged)", done.stderr)
    assert snapshot(copied) == before
