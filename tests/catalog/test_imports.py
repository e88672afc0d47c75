"""Results of other tools become the records that a person would transcribe; what does not is named with its reason; files keep every byte.

Excerpts have the layout of real files: timm's results/benchmark-infer-*.csv at aa4b585 of huggingface/pytorch-image-models,
benchmark.json of huggingface/optimum-benchmark at 83c4c9f, llama-bench.json of brayniac/llm-performance at 3be5454, and
eval_results.yaml of huggingface/hub-docs at 242f4a1. Figures of the first two rows of TIMM are timm's; the others are invented.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcard.advisor.calibrate import points
from fitcard.advisor.evidence import evidence_of
from fitcard.catalog import Catalog, CatalogError, FitcardError, load
from fitcard.catalog.importers.plan import Plan, plan, unpinned
from fitcard.catalog.importers.write import claim_text, scalar, write
from fitcard.catalog.schema.published import PublishedFile
from fitcard.catalog.schema.record import Source, read_record
from fitcard.catalog.yaml_file import parse_yaml
from tests.catalog.test_bad_input import snapshot
from tests.conftest import ROOT, Cli

CASES = ROOT / "tests/cases"

COMMIT = "aa4b5850c1543fa488abf260f18390eda46cf85d"
SO400M, SMALL, BGE = "google/siglip-so400m-patch14-384", "facebook/dinov2-with-registers-small", "BAAI/bge-base-en-v1.5"
NAME = "benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv"
TIMM = """\
model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,param_count,infer_gmacs,infer_macts
vit_small_patch14_reg4_dinov2,518,820.76,1247.592,1024,22.06,46.95,199.77
vit_so400m_patch14_siglip_384,384,153.85,3327.91,512,428.23,335.4,452.89
resnet50,224,4217.6,242.763,1024,25.56,4.11,11.11
"""


def source_of(name: str, site: str = "github.com/huggingface/pytorch-image-models", **changes: str) -> Source:
    fields = {"title": name, "publisher": "somebody", "url": f"https://{site}/blob/{COMMIT}/results/{name}", "read": "2026-11-24", "license": "Apache-2.0"}  # fmt: skip
    return Source(**{**fields, **changes})


def planned(catalog: Catalog, folder: Path, text: str, name: str = NAME, **options: Any) -> Plan:
    path = folder / name
    path.write_text(text)
    return plan(catalog, path, options.pop("source", source_of(name)), **options)


def reasons(found: Plan) -> dict[str, str]:
    return {row.where: row.reason for row in found.unmapped}


# timm


def test_every_transcribed_figure_is_what_the_importer_makes_of_its_row(real: Catalog, tmp_path: Path) -> None:
    """All figures of timm, 267 of them transcribed by hand, as the rows that they were: all are on record, to the letter."""
    files: dict[str, list[str]] = {}
    for model, file in real.published.items():
        for speed in file.speeds:
            url = file.sources[speed.source].url
            count = real.traces[model].parameters("vision") / 1e6
            row = f"{speed.where[4:]},{speed.per_second},{speed.batch}.0,{speed.image_size},{count:.2f}"
            files.setdefault(url, []).append(row)
    assert len(files) == 13
    for url, rows in files.items():
        name = url.rsplit("/", 1)[-1]
        text = "\n".join(["model,infer_samples_per_sec,infer_batch_size,infer_img_size,param_count", *rows])
        found = planned(real, tmp_path, text, name, source=source_of(name, url=url))
        assert (len(found.mapped), found.new, found.unmapped) == (len(rows), {}, ()), name
        assert {row.speed.source for row in found.mapped} == {found.key}
        assert found.key in real.published[found.mapped[0].model].sources


def test_a_row_says_all_that_the_name_of_its_file_says(real: Catalog, tmp_path: Path) -> None:
    name = "benchmark-infer-bf16-nhwc-pt2100-cu130-pro6000maxq-dynamo.csv"
    speed = planned(real, tmp_path, TIMM, name).mapped[0].speed
    assert (speed.gpu, speed.quantization, speed.mode, speed.batch, speed.image_size) == (
        "rtx-pro-6000-blackwell-max-q", "BF16", "compiled", 1024, 518,
    )  # fmt: skip
    assert (speed.autocast, speed.channels_last, speed.per_second) == (False, True, 820.76)
    assert speed.settings == "BF16 weights, channels last, torch 2.10.0, CUDA 13.0"
    assert (
        planned(real, tmp_path, TIMM, NAME.replace("pt240", "pt113"))
        .mapped[0]
        .speed.settings.endswith("torch 1.13, CUDA 12.4")
    )


def test_what_is_no_row_of_a_model_here_is_listed_with_its_reason(real: Catalog, tmp_path: Path) -> None:
    text = TIMM + (
        "vit_base_patch16_siglip_224,256,1,1,1,92.88,1,1\n"  # another size
        "vit_base_patch16_siglip_256,256,1,1,1,85.84,1,1\n"  # the tower without its pooling head
        "vit_base_patch16_siglip_384,384,nan,1,1,93.18,1,1\n"
        "vit_base_patch16_siglip_512,512,1,1,1.5,93.52,1,1\n"
        "vit_large_patch16_siglip_256\n"
    )
    found = planned(real, tmp_path, text)
    assert [row.model for row in found.mapped] == [SMALL, SO400M]
    assert reasons(found) == {
        "row resnet50": "its model is not in the catalog",
        "row vit_base_patch16_siglip_224": "was measured at 256 px, and google/siglip-base-patch16-224 is known at 224 px",
        "row vit_base_patch16_siglip_256": "is not the model that its name says: 85.84 million parameters there, 92.93 million here",
        "row vit_base_patch16_siglip_384": "infer_samples_per_sec is no positive number (got 'nan')",
        "row vit_base_patch16_siglip_512": "infer_batch_size is no positive number (got '1.5')",
        "row vit_large_patch16_siglip_256": "infer_samples_per_sec is no positive number (got None)",
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("benchmark-infer-fp32-nchw-pt240-cpu-i9_10940x-dynamo.csv", "was measured on a processor (cpu-i9_10940x); published figures are of cards"),
        ("benchmark-infer-fp32-nchw-pt240-cu124-rtx4090.csv", "was multiplied in TF32, which timm allows on cards and which no label stands for"),
        ("benchmark-infer-amp-nchw-pt240-cu124-rtx9999.csv", "no card of the catalog is called rtx9999; give --gpu"),
    ],
)  # fmt: skip
def test_files_of_which_no_row_can_be_mapped(name: str, reason: str, real: Catalog, tmp_path: Path) -> None:
    found = planned(real, tmp_path, TIMM, name)
    assert not found.mapped
    assert reasons(found)["row vit_so400m_patch14_siglip_384"] == reason


def test_the_card_is_asked_for_only_where_the_file_names_none(real: Catalog, tmp_path: Path) -> None:
    named = NAME.replace("rtx4090", "mycard")
    assert planned(real, tmp_path, TIMM, named, gpu="RTX 3090").mapped[0].speed.gpu == "rtx-3090"
    with pytest.raises(
        FitcardError, match=r"--gpu is rtx-3090, but row .* was measured on rtx-4090 \(rtx4090\): leave --gpu out"
    ):
        planned(real, tmp_path, TIMM, gpu="3090")


def test_one_figure_stands_once(real: Catalog, tmp_path: Path) -> None:
    """Rows that a file has twice, the same file at a later commit, and a figure that contradicts the record."""
    row = TIMM.splitlines()[1]
    real = replace(real, published={key: file for key, file in real.published.items() if key != SMALL})
    found = planned(real, tmp_path, f"{TIMM}{row}\n{row.replace('820.76', '821')}\n")
    assert [(r.model, r.on_record) for r in found.mapped] == [(SMALL, False), (SO400M, True), (SMALL, True)]
    assert reasons(found)["row vit_small_patch14_reg4_dinov2"].startswith(
        "is on record with another figure (820.76 a second)"
    )
    later = source_of(NAME, url=source_of(NAME).url.replace(COMMIT, "b" * 40))
    assert [r.on_record for r in planned(real, tmp_path, TIMM, source=later).mapped] == [False, True]
    remeasured = planned(real, tmp_path, TIMM.replace("153.85", "160"), source=later)
    assert [r.on_record for r in remeasured.mapped] == [False, False]


# What is written


def lines_kept(before: bytes, after: bytes) -> bool:
    """Whether every line of `before` is in `after`, byte for byte and in the same order."""
    left = iter(after.split(b"\n"))
    return all(line in left for line in before.removesuffix(b"\n").split(b"\n"))


def test_text_is_added_and_nothing_else_is_touched(copied: Path, tmp_path: Path) -> None:
    path = copied / "published" / f"{SO400M}.yaml"
    path.write_bytes(
        path.read_bytes().replace(b"speeds:\n", b"# of one machine\nspeeds:   # fastest first\n") + b"# the end\n"
    )
    before, others = path.read_bytes(), {**snapshot(copied)}
    catalog = load(copied)
    found = planned(catalog, tmp_path, TIMM, NAME.replace("rtx4090", "rtx5090"))
    written = write(copied, found)
    assert [p.relative_to(copied / "published").as_posix()[:-5] for p in written] == [SMALL, SO400M]
    assert lines_kept(before, path.read_bytes())
    assert {p for p, content in snapshot(copied).items() if others.get(p) != content and p.name != ".lock"} == set(
        written
    )
    file = load(copied).published[SO400M]
    assert file.speeds == (*catalog.published[SO400M].speeds, file.speeds[-1])
    assert (file.speeds[-1].gpu, file.speeds[-1].per_second) == ("rtx-5090", 153.85)
    assert file.sources[file.speeds[-1].source].license == "Apache-2.0"
    assert load(copied).published[SMALL].speeds[0].where == "row vit_small_patch14_reg4_dinov2"


def test_who_reads_a_source_reviews_the_file(copied: Path, tmp_path: Path) -> None:
    """The day of the review comes forward to that of the reading, never back, and what stands beside it stays."""
    path = copied / "published" / f"{SO400M}.yaml"
    for day, then in (("2026-01-01", "2026-11-24"), ("2026-12-24", "2026-12-24")):
        path.write_text(re.sub(r"reviewed: .*", f"reviewed: {day}   # by me", path.read_text(), count=1))
        source = source_of(NAME, url=f"https://example.org/{day}", read="2026-11-24")
        write(copied, planned(load(copied), tmp_path, TIMM.replace("153.85", f"1.{day[-2:]}"), source=source))
        assert f"reviewed: {then}   # by me\n" in path.read_text()


def test_the_same_file_twice_changes_nothing(copied: Path, tmp_path: Path) -> None:
    write(copied, planned(load(copied), tmp_path, TIMM))
    before = snapshot(copied)
    again = planned(load(copied), tmp_path, TIMM)
    assert again.new == {} and write(copied, again) == []
    assert snapshot(copied) == before


LAYOUTS = {
    "sources last": "reviewed: 2026-11-24\nspeeds:\n{speed}sources:\n{source}",
    "no line break at the end": "reviewed: 2026-11-24\nsources:\n{source}speeds:\n{speed}  # end",
    "list not indented": "reviewed: 2026-11-24\nsources:\n{source}speeds:\n{flat}",
    "wide": "reviewed: 2026-11-24\nsources:\n{wide}speeds:\n{speed}\n\n",
    "a text in several lines": "reviewed: 2026-11-24\nspeeds:\n{speed}sources:\n{source}    note: |\n      read\n      twice\n\n# end\n",
    "a text in several lines and no line break": "reviewed: 2026-11-24\nspeeds:\n{speed}sources:\n{source}    note: >-\n      read\n      twice",
    "a text in several lines before the list": "reviewed: 2026-11-24\nsources:\n{source}    note: |\n      read\n      twice\nspeeds:\n{speed}",
    "entries in braces": "reviewed: 2026-11-24\nsources:\n  old: {braces}\nspeeds:\n{speed}",
    "Windows": "reviewed: 2026-11-24\r\nsources:\r\n{source}speeds:\r\n{speed}",
    "comments between": "# a\nreviewed: 2026-11-24\nsources:\n{source}\n  # of the list\n# of the file\nspeeds:\n{speed}\n    # of the last\n# b\n",
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_however_a_file_is_laid_out(layout: str, copied: Path, tmp_path: Path) -> None:
    fields = ["title: Old", "publisher: P", "url: https://example.org/old", "read: 2026-01-01"]
    speed = ["gpu: rtx-4090", "component: vision", "quantization: FP16", "mode: eager", "batch: 1", "image_size: 384", "per_second: 2", "settings: none", "where: here", "source: old"]  # fmt: skip
    text = LAYOUTS[layout].format(
        source="  old:\n" + "".join(f"    {row}\n" for row in fields), wide="      old:\n" + "".join(f"          {row}\n" for row in fields),
        speed="  - " + "\n    ".join(speed) + "\n", flat="- " + "\n  ".join(speed) + "\n", braces="{" + ", ".join(fields) + "}",
    )  # fmt: skip
    text = re.sub(r"(?<!\r)\n", "\r\n", text) if layout == "Windows" else text
    text = text.replace("source: old\n  # end", "source: old  # end")
    path = copied / "published" / f"{SO400M}.yaml"
    path.write_bytes(text.encode())
    old = load(copied).published[SO400M]
    write(copied, planned(load(copied), tmp_path, TIMM))
    new = load(copied).published[SO400M]
    assert new.speeds[0] == old.speeds[0] and len(new.speeds) == 2 and new.speeds[1].per_second == 153.85
    assert new.sources["old"] == old.sources["old"] and len(new.sources) == 2
    assert lines_kept(text.encode(), path.read_bytes())
    made = path.read_bytes()
    assert made.endswith(b"\n") and made.count(b"\r\n") == (made.count(b"\n") if layout == "Windows" else 0)


def test_what_cannot_be_added_to_is_said_before_anything_is_written(copied: Path, tmp_path: Path) -> None:
    path = copied / "published" / f"{SO400M}.yaml"
    data = parse_yaml(path.read_text(), path)[0]
    path.write_text(
        f"reviewed: {data['reviewed']}\nsources: {json.dumps(data['sources'])}\nspeeds: {json.dumps(data['speeds'][-3:])}\n"
    )
    catalog, before = load(copied), snapshot(copied)
    with pytest.raises(
        CatalogError, match=r"384\.yaml:2: sources: is written in braces or brackets: write it an entry a line"
    ):
        write(copied, planned(catalog, tmp_path, TIMM, NAME.replace("rtx4090", "rtx5090")))
    assert snapshot(copied) == before


@given(st.text() | st.sampled_from(["no", "1:30", "80e9", "1.0", "2026-01-01", "a: b", "a #b", "- a", "~", "'", '"', "[a", "{a", "!a", "&a", "*a", "%a", "@a", "|", ">", " a", "a\n", "é"]))  # fmt: skip
def test_a_text_is_read_back_as_it_was_written(text: str) -> None:
    """Whatever it holds, but for what YAML cannot hold at all."""
    try:
        written = parse_yaml(f"- {json.dumps(text, ensure_ascii=False)}\n", Path("x"))[0]
    except CatalogError:
        return
    if written == [text]:
        assert parse_yaml(f"key: {scalar(text)}\n", Path("x"))[0] == {"key": text}


@given(st.floats(min_value=1e-6, max_value=1e15))
def test_a_number_is_read_back_as_a_number(value: float) -> None:
    assert parse_yaml(f"key: {scalar(value)}\n", Path("x"))[0]["key"] == pytest.approx(value, rel=1e-6)


def _import_many(root: str, plans: list[Plan]) -> None:
    for each in plans:
        write(Path(root), each)


def test_importers_at_once_lose_nothing_and_add_nothing_twice(real: Catalog, tmp_path: Path) -> None:
    """Three processes add twelve figures each to one file, and all of them one more: thirty-seven are there, each once."""
    plans = [
        planned(real, tmp_path, TIMM.replace("153.85", "1"), source=source_of(NAME, publisher=f"{number}", url=f"https://example.org/{number}"))
        for number in range(37)
    ]  # fmt: skip
    context = multiprocessing.get_context("spawn")
    groups = [[*plans[start : start + 12], plans[36]] for start in (0, 12, 24)]
    workers = [context.Process(target=_import_many, args=(str(tmp_path), group)) for group in groups]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    file = read_record(PublishedFile, tmp_path / "published" / f"{SO400M}.yaml")[0]
    assert sorted(int(file.sources[speed.source].publisher) for speed in file.speeds) == list(range(37))


OPTIONS = ["--title", NAME, "--publisher", "timm", "--licence", "Apache-2.0", "--url", source_of(NAME).url]


@pytest.mark.parametrize(("blocks", "written"), [(0, 0), (6, 1)])
def test_a_full_disk_leaves_whole_files(blocks: int, written: int, copied: Path, tmp_path: Path) -> None:
    """No file may grow beyond so many KiB: the new file fits six, the longer one does not. What is there is whole, and the same
    command goes on later."""
    name = NAME.replace("rtx4090", "rtx5090")
    (copied / "published" / f"{SMALL}.yaml").unlink()
    (tmp_path / name).write_text(TIMM)
    options = [word.replace(NAME, name) for word in OPTIONS]
    command = [sys.executable, "-m", "fitcard", "--catalog", str(copied), "import", str(tmp_path / name), *options]
    before, had = snapshot(copied), len(load(copied).published[SO400M].speeds)
    limited = ["bash", "-c", f'ulimit -f {blocks}; exec "$@"', "-", *command]
    cache = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, check=False, env=cache)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"File too large; {written} of 2 files are written, whole" in done.stderr
    after = snapshot(copied)
    assert all(after[path] == content for path, content in before.items())
    assert {path.name for path in after.keys() - before.keys()} - {".lock"} == (
        {f"{SMALL.split('/')[1]}.yaml"} if written else set()
    )
    load(copied)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert {len(load(copied).published[model].speeds) for model in (SMALL, SO400M)} == {1, had + 1}


# llama-bench


def bench(**changes: Any) -> str:
    entry: dict[str, Any] = {
        "build_commit": "247e5c6e", "build_number": 5606, "cpu_info": "AMD Ryzen", "gpu_info": "NVIDIA GeForce RTX 4090",
        "backends": "CUDA,RPC", "model_filename": "/mnt/GGUF/bge-base-en-v1.5-Q4_K_M.gguf", "model_type": "bert 109M Q4_K - Medium",
        "model_size": 68_000_000, "model_n_params": 108_890_000, "n_batch": 2048, "n_ubatch": 512, "n_gpu_layers": 99,
        "split_mode": "layer", "flash_attn": False, "embeddings": True, "n_prompt": 512, "n_gen": 0, "n_depth": 0,
        "avg_ns": 10_000_000, "avg_ts": 51200.0, "samples_ts": [51200.0],
    }  # fmt: skip
    return json.dumps([entry | changes])


def test_one_prompt_is_one_text(real: Catalog, tmp_path: Path) -> None:
    found = planned(real, tmp_path, bench(), "bench.json")
    (row,) = found.mapped
    assert (row.model, row.speed.component, row.speed.quantization, row.speed.gpu) == (
        BGE,
        "text",
        "Q4_K_M",
        "rtx-4090",
    )
    assert (row.speed.per_second, row.speed.batch, row.speed.text_tokens) == (100.0, 1, 512)
    assert (row.speed.runtime, row.speed.settings) == (
        "llama.cpp",
        "build 5606 (247e5c6e), CUDA,RPC, no flash attention, physical batch 512",
    )
    assert planned(real, tmp_path, bench().strip("[]"), "bench.jsonl").mapped == found.mapped


@pytest.mark.parametrize(
    ("case", "gpu", "attention"),
    [
        ("ngl-minus-1", "rtx-4080", "flash attention auto"), ("two-cards-one-used", "rtx-4080", "flash attention auto"),
        ("vulkan-radv", "rx-7900-xtx", "flash attention auto"),
    ],
)  # fmt: skip
def test_reported_results_of_llama_bench(case: str, gpu: str, attention: str, real: Catalog, tmp_path: Path) -> None:
    """The defaults of 2026 (all layers, flash attention auto), one of two GPUs, and the names of Vulkan's drivers."""
    text = (CASES / "llama-bench" / f"{case}.json").read_text()
    (row,) = planned(real, tmp_path, text, "bench.json").mapped
    assert (row.model, row.speed.gpu, row.speed.quantization) == ("BAAI/bge-large-en-v1.5", gpu, "Q8_0")
    assert attention in row.speed.settings


@pytest.mark.parametrize("name", ["BAAI_bge-base-en-v1.5-Q4_K_M.gguf", "C:\\models\\bge-base-en-v1.5.Q4_K_M.gguf"])
def test_a_file_is_named_with_or_without_its_organisation(name: str, real: Catalog, tmp_path: Path) -> None:
    """Both ways are usual on the hub."""
    (row,) = planned(real, tmp_path, bench(model_filename=name), "bench.json").mapped
    assert row.model == "BAAI/bge-base-en-v1.5"


TWO = "NVIDIA GeForce RTX 4090, NVIDIA GeForce RTX 3090"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"n_gpu_layers": -1}, "rtx-4090"), ({"n_gpu_layers": "-1"}, "rtx-4090"), ({"n_gpu_layers": -2}, "rtx-4090"),
        ({"gpu_info": TWO, "devices": "CUDA1"}, "rtx-3090"), ({"gpu_info": TWO, "split_mode": "none", "main_gpu": 1}, "rtx-3090"),
        ({"gpu_info": TWO, "split_mode": "none", "main_gpu": 0}, "rtx-4090"), ({"gpu_info": TWO, "tensor_split": "0.00/1.00"}, "rtx-3090"),
        ({"gpu_info": TWO, "devices": "CUDA1/CUDA0", "split_mode": "none"}, "rtx-3090"),
        ({"gpu_info": TWO, "devices": "CUDA0/CUDA1"}, "ran on several cards"),
        ({"gpu_info": TWO, "devices": "auto", "tensor_split": "0.00"}, "ran on several cards"),
        ({"gpu_info": TWO, "devices": "CUDA7"}, "does not say on which one of the cards it ran (CUDA7)"),
        ({"devices": "none"}, "was measured on a processor; published figures are of cards"),
        ({"devices": "RPC[10.0.0.1:50052]"}, "ran on devices that are not known to be GPUs of the machine (RPC[10.0.0.1:50052])"),
        ({"gpu_info": "Intel(R) Arc(TM) Pro B70 Graphics", "backends": "SYCL", "devices": "SYCL0"}, "arc-pro-b70"),
        ({"gpu_info": "Intel(R) Arc(tm) B580 Graphics (BMG G21)", "backends": "Vulkan", "devices": "Vulkan0"}, "arc-b580"),
        ({"gpu_info": "AMD Radeon RX 6800 XT (radeonsi, navi21, LLVM 17.0.6)", "backends": "OpenCL"}, "rx-6800-xt"),
        ({"gpu_info": "Apple M4 Max", "backends": "Metal,BLAS", "devices": "MTL0"}, "apple-m4-max-40-core-64gb"),
        ({"gpu_info": "Apple M2 Max", "backends": "Metal,BLAS"}, "Apple M2 Max is the name of 3 GPUs (apple-m2-max-38-core-32gb, apple-m2-max-38-core-64gb, apple-m2-max-38-core-96gb); give --gpu"),
    ],
)  # fmt: skip
def test_which_gpu_llama_bench_ran_on(changes: dict[str, Any], expected: str, real: Catalog, tmp_path: Path) -> None:
    """`gpu_info` names every GPU of the machine; devices, split mode and tensor split say which were used."""
    found = planned(real, tmp_path, bench(**changes), "bench.json")
    assert [row.speed.gpu for row in found.mapped] + [row.reason for row in found.unmapped] == [expected]


@pytest.mark.parametrize(
    ("value", "words"),
    [(-1, "flash attention auto"), ("auto", "flash attention auto"), (1, ", flash attention,"), (True, ", flash attention,"), (0, "no flash attention"), (False, "no flash attention")],
)  # fmt: skip
def test_flash_attention_is_on_off_or_left_to_llama_cpp(
    value: object, words: str, real: Catalog, tmp_path: Path
) -> None:
    """What -1 chose is not known, so it is called auto."""
    assert words in planned(real, tmp_path, bench(flash_attn=value), "bench.json").mapped[0].speed.settings


def test_many_rows_of_one_model_are_imported_quickly(copied: Path, tmp_path: Path) -> None:
    """20,000 rows take seconds of one core, planned and written; each row was once compared with all before it."""
    head = "model,infer_samples_per_sec,infer_batch_size,infer_img_size,param_count\n"
    rows = "".join(
        f"vit_so400m_patch14_siglip_384,{number / 200 + 1},{number + 10_000},384,428.23\n"
        for number in range(1, 20_001)
    )
    catalog = load(copied)
    started = time.process_time()
    found = planned(catalog, tmp_path, head + rows)
    write(copied, found)
    assert time.process_time() - started < 5
    assert len(found.mapped) == 20_000
    assert len(load(copied).published[SO400M].speeds) > 20_000


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_filename": "Snowpiercer-15B-v1.Q3_K_L.gguf"}, "its model is not in the catalog"),
        ({"model_filename": "siglip-so400m-patch14-384-Q8_0.gguf"}, "its model is not in the catalog"),
        ({"n_prompt": 0, "n_gen": 128}, "generates text, which an encoder does not"),
        ({"n_depth": 4096}, "continues a text that was read before, which an encoder does not"),
        ({"n_prompt": 128}, f"was measured with texts of 128 tokens, and {BGE} is known at 512"),
        ({"n_gpu_layers": 0}, "was measured on a processor; published figures are of cards"),
        ({"gpu_info": ""}, "was measured on a processor; published figures are of cards"),
        ({"n_gpu_layers": 5}, "ran 5 of 12 layers on the card and the rest on the processor"),
        ({"gpu_info": "NVIDIA GeForce RTX 4090, NVIDIA GeForce RTX 3090"}, "ran on several cards"),
        ({"model_type": "bert 109M Q4_K - Small"}, "no label stands for its tensor types (bert 109M Q4_K - Small)"),
        ({"model_n_params": 335_000_000}, "is not the model that its name says: 335.00 million parameters there, 109.48 million here"),
        ({"avg_ts": None}, "avg_ts is no positive number (got None)"),
        ({"gpu_info": "NVIDIA GeForce RTX 9999"}, "no card of the catalog is called NVIDIA GeForce RTX 9999; give --gpu"),
    ],
)  # fmt: skip
def test_tests_of_llama_bench_that_are_no_speed_of_an_encoder(
    changes: dict[str, Any], reason: str, real: Catalog, tmp_path: Path
) -> None:
    found = planned(real, tmp_path, bench(**changes), "bench.json")
    assert (found.mapped, list(reasons(found).values())) == ((), [reason])


def test_a_figure_of_another_runtime_is_shown_and_nothing_follows_from_it(copied: Path, tmp_path: Path) -> None:
    """Q4_K_M is run by torch here; llama.cpp's figure must not be fitted on, nor be given as that label's speed."""
    write(copied, planned(load(copied), tmp_path, bench(), "bench.json"))
    catalog = load(copied)
    assert catalog.published[BGE].speeds[0].runtime == "llama.cpp"
    evidence = evidence_of(catalog, BGE)
    assert ("text", "rtx-4090") not in evidence.fastest
    assert not evidence.published
    assert not [point for point in points(catalog) if point.model == BGE]
    (copied / "published" / f"{BGE}.yaml").write_text(
        (copied / "published" / f"{BGE}.yaml").read_text().replace("    runtime: llama.cpp\n", "")
    )
    catalog = load(copied)
    assert ("text", "rtx-4090") in evidence_of(catalog, BGE).fastest
    assert [point for point in points(catalog) if point.model == BGE]


# optimum-benchmark


def optimum(
    backend: dict[str, Any] | None = None, environment: dict[str, Any] | None = None, **shapes: Any
) -> dict[str, Any]:
    timing = {"unit": "s", "values": [0.1, 0.1], "mean": 0.1, "p50": 0.1}
    config = {
        "name": "cuda_pytorch_bge",
        "backend": {
            "name": "pytorch", "version": "2.4.0", "model": BGE, "task": "feature-extraction", "library": "transformers", "device": "cuda",
            "device_ids": "0", "no_weights": False, "device_map": None, "torch_dtype": "float16", "attn_implementation": None,
            "autocast_enabled": False, "autocast_dtype": None, "torch_compile": False, "quantization_scheme": None,
            "quantization_config": {}, "deepspeed_inference": False, "peft_type": None, **(backend or {}),
        },
        "scenario": {"name": "inference", "input_shapes": {"batch_size": 64, "num_choices": 2, "sequence_length": 512, **shapes}},
        "launcher": {"name": "process"},
        "environment": {
            "cpu": " Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", "gpu": ["NVIDIA A100-SXM4-80GB", "NVIDIA DGX Display"],
            "transformers_version": "4.49.0", **(environment or {}),
        },
    }  # fmt: skip
    empty = {"memory": None, "latency": None, "throughput": None, "energy": None, "efficiency": None}
    report = {
        "load_model": {**empty, "latency": timing},
        "forward": {
            **empty, "memory": {"unit": "MB", "max_allocated": 900.0}, "latency": timing, "throughput": {"unit": "samples/s", "value": 40.123456789},
        },
    }  # fmt: skip
    return {"config": config, "report": report}


def test_the_throughput_of_a_forward_pass_is_a_speed(real: Catalog, tmp_path: Path) -> None:
    found = planned(real, tmp_path, json.dumps(optimum()), "benchmark.json")
    (row,) = found.mapped
    speed = row.speed
    assert (row.model, speed.gpu, speed.component, speed.quantization, speed.mode) == (
        BGE,
        "a100-80gb-sxm",
        "text",
        "FP16",
        "eager",
    )
    assert (speed.batch, speed.text_tokens, speed.image_size, speed.per_second) == (64, 512, None, 40.1235)
    assert (speed.where, speed.settings) == ("forward.throughput", "FP16 weights, torch 2.4.0, transformers 4.49.0")
    assert reasons(found) == {
        "load_model.latency": "is no plain forward pass (load_model)",
        "forward.memory": "others' memory is not recorded here, only their speeds",
        "forward.latency": "is the same measurement as forward.throughput",
    }


def test_either_half_finds_the_other_beside_it(real: Catalog, tmp_path: Path) -> None:
    whole = optimum()
    expected = planned(real, tmp_path, json.dumps(whole), "benchmark.json").mapped
    (tmp_path / "benchmark_config.json").write_text(json.dumps(whole["config"]))
    report = json.dumps(whole["report"])
    url = source_of("benchmark.json")
    assert planned(real, tmp_path, report, "benchmark_report.json", source=url).mapped == expected
    assert plan(real, tmp_path / "benchmark_config.json", url).mapped == expected
    (tmp_path / "benchmark_config.json").unlink()
    with pytest.raises(
        FitcardError,
        match=r"benchmark_report\.json is one half, and the other cannot be read: .*benchmark_config\.json",
    ):
        planned(real, tmp_path, report, "benchmark_report.json")


@pytest.mark.parametrize(
    ("backend", "environment", "shapes", "expected"),
    [
        ({"torch_dtype": None}, {}, {}, ("FP32", "eager", False)),
        ({"torch_dtype": "bfloat16", "torch_compile": True}, {}, {}, ("BF16", "compiled", False)),
        ({"torch_dtype": None, "autocast_enabled": True, "autocast_dtype": "bfloat16"}, {}, {}, ("BF16", "eager", True)),
        ({"torch_dtype": None}, {"transformers_version": "5.1.0"}, {}, "its number type is not stated (torch_dtype None)"),
        ({"torch_dtype": "auto"}, {}, {}, "its number type is not stated (torch_dtype auto)"),
        ({"torch_dtype": None, "allow_tf32": True}, {}, {}, "was multiplied in TF32, which no label stands for"),
        ({"quantization_scheme": "bnb"}, {}, {}, "is quantized in a way that no label here is known to stand for"),
        ({"quantization_config": {"quant_method": "torchao"}}, {}, {}, "is quantized in a way that no label here is known to stand for"),
        ({"device_map": "auto"}, {}, {}, "may have been spread over several devices (device_map)"),
        ({"task": "fill-mask"}, {}, {}, "has the head of fill-mask, which the catalog's model has not"),
        ({"model": "google-bert/bert-base-uncased"}, {}, {}, "its model is not in the catalog (google-bert/bert-base-uncased)"),
        ({"name": "py-txi"}, {}, {}, "was run by py-txi, and the labels of plain weights stand for torch here"),
        ({"device_ids": "0,1"}, {}, {}, "does not say on which one of the cards it ran (0,1)"),
        ({"device_ids": None}, {}, {}, "does not say on which one of the cards it ran (None)"),
        ({"device_ids": "1"}, {}, {}, "no card of the catalog is called NVIDIA DGX Display; give --gpu"),
        ({}, {}, {"sequence_length": 128}, f"was measured with texts of 128 tokens, and {BGE} is known at 512"),
        ({"model": SO400M}, {}, {"sequence_length": 16}, f"was measured with texts of 16 tokens, and {SO400M} is known at 64"),
        ({"model": SO400M}, {}, {"sequence_length": None, "height": 224}, f"was measured at 224 px, and {SO400M} is known at 384 px"),
        ({"model": SO400M}, {}, {"sequence_length": None}, ("FP16", "eager", False)),
        ({"model": "timm/vit_so400m_patch14_siglip_384.webli", "library": "timm"}, {}, {"sequence_length": None}, ("FP16", "eager", False)),
    ],
)  # fmt: skip
def test_settings_of_optimum_benchmark(
    backend: dict[str, Any], environment: dict[str, Any], shapes: dict[str, Any], expected: Any, real: Catalog, tmp_path: Path
) -> None:  # fmt: skip
    found = planned(real, tmp_path, json.dumps(optimum(backend, environment, **shapes)), "benchmark.json")
    if isinstance(expected, str):
        assert not found.mapped and reasons(found)["forward.throughput"] == expected
    else:
        speed = found.mapped[0].speed
        assert (speed.quantization, speed.mode, speed.autocast) == expected


def test_the_zero_shot_task_is_the_plain_model_of_two_components(real: Catalog, tmp_path: Path) -> None:
    """transformers maps it to SiglipModel and CLIPModel themselves; a text encoder has no such task."""
    text = (CASES / "optimum/siglip-zeroshot.json").read_text()
    (row,) = planned(real, tmp_path, text, "benchmark.json").mapped
    assert (row.model, row.speed.component, row.speed.gpu, row.speed.quantization, row.speed.batch) == (
        "google/siglip-base-patch16-224", "all", "t4", "FP16", 8,
    )  # fmt: skip
    other = planned(real, tmp_path, text.replace("google/siglip-base-patch16-224", BGE), "benchmark.json")
    assert not other.mapped
    assert reasons(other)["forward.throughput"] == (
        "has the head of zero-shot-image-classification, which the catalog's model has not"
    )


def test_a_card_that_is_there_and_was_not_used_is_not_taken(real: Catalog, tmp_path: Path) -> None:
    """optimum-benchmark names every card of the machine; its own example ran on the processor of one with a T4."""
    text = json.dumps(optimum({"device": "cpu", "device_ids": None}, {"gpu": ["Tesla T4"]}))
    for gpu in (None, "T4"):
        found = planned(real, tmp_path, text, "benchmark.json", gpu=gpu)
        assert not found.mapped
        assert reasons(found)["forward.throughput"] == (
            "was measured on a processor (Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz); published figures are of cards"
        )


# .eval_results

EVAL = """\
# results
- dataset:
    id: ILSVRC/imagenet-1k
    task_id: zero_shot
  value: 83.2
  date: '2026-05-23'
  notes: No ensemble
  source:
    url: https://huggingface.co/papers/1
- dataset: {id: mteb/coco, task_id: default}
  value: 0.5
- dataset: {id: mteb/coco}
  value: 0.5
- dataset: {id: a/b, task_id: c}
  value: high
- dataset: {id: a/b, task_id: c}
  value: 1.0e400
"""


def test_accuracies_are_claims_that_a_person_completes(copied: Path, tmp_path: Path) -> None:
    """The format states no unit, so nothing is written; what is printed loads once the unit is filled in, and not before."""
    before, catalog = snapshot(copied), load(copied)
    source = source_of("a.yaml", f"huggingface.co/{SO400M}")
    found = planned(catalog, tmp_path, EVAL, "a.yaml", source=source)
    assert write(copied, found) == [] and snapshot(copied) == before
    assert [(row.model, row.claim.key, row.claim.what, row.claim.value) for row in found.claims] == [
        (SO400M, "imagenet_1k_zero_shot", "ILSVRC/imagenet-1k, zero_shot (No ensemble)", 83.2), (SO400M, "coco", "mteb/coco", 0.5),
    ]  # fmt: skip
    assert [row.reason for row in found.unmapped] == [
        "names no dataset with `id` and `task_id`",
        "value is no number (got 'high')",
        "value is no number (got inf)",
    ]
    claims, sources = claim_text(found, found.claims).split("sources:\n")
    path = copied / "models" / f"{SO400M}.yaml"
    text = path.read_text().replace("claims:\n", claims, 1).replace("\nsources:\n", f"\nsources:\n{sources}\n", 1)
    path.write_text(text)
    with pytest.raises(CatalogError, match=r"claims\.0\.unit: must be text \(got None\)"):
        load(copied)
    path.write_text(text.replace("unit: ,", 'unit: "%",'))
    assert load(copied).models[SO400M].claims[0].value == 83.2
    again = planned(load(copied), tmp_path, EVAL, "a.yaml", source=source)
    assert [row.on_record for row in again.claims] == [True, True]


def test_results_lie_in_the_repository_of_their_model(real: Catalog, tmp_path: Path) -> None:
    elsewhere = source_of("a.yaml", "huggingface.co/somebody/else")
    assert set(reasons(planned(real, tmp_path, EVAL, "a.yaml", source=elsewhere)).values()) > {
        "its model is not in the catalog"
    }
    for site in ("github.com/google/siglip", "huggingface.co/datasets/google/siglip"):
        with pytest.raises(FitcardError, match="names no model: results lie in the model's own repository"):
            planned(real, tmp_path, EVAL, "a.yaml", source=source_of("a.yaml", site))


# Bad input


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (NAME, "", r"is empty: fill it in or delete it"),
        (NAME, "hello\n", r"is in none of the formats that can be imported: timm benchmark CSV, optimum-benchmark JSON, llama-bench JSON, Hugging Face \.eval_results YAML; --format overrides"),
        ("results-imagenet.csv", "model,img_size,top1\na,224,80\n", r"is in none of the formats"),
        ("benchmark-train-amp-nchw-pt240-cu124-rtx4090.csv", "model,train_samples_per_sec\na,1\n", r"is in none of the formats"),
        (NAME, "model,infer_samples_per_sec,infer_step_time\na,1,1\n", r"csv:1: lacks the column infer_batch_size, infer_img_size \(there are: model, infer_samples_per_sec, infer_step_time\)"),
        (NAME, TIMM.splitlines()[0], r"has no rows"),
        ("mine.csv", TIMM, r"mine\.csv: says nothing of precision, layout, versions and card, .* name it benchmark-infer-PRECISION-LAYOUT-ptTORCH-cuCUDA-CARD"),
        ("bench.json", bench()[:300], r"bench\.json:1: is damaged: .*; get the whole file again"),
        ("bench.json", "[]", r"is in none of the formats"),
        ("bench.json", "[" * 100_000, r"is nested too deeply"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read(name: str, text: str, expected: str, copied: Path, tmp_path: Path, cli: Cli) -> None:
    """One line that says what is wrong, exit code 1, nothing written."""
    (tmp_path / name).write_text(text)
    before = snapshot(copied)
    done = cli("import", tmp_path / name, *(word.replace(NAME, name) for word in OPTIONS), catalog=copied)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.strip().splitlines()) == 1 and re.search(expected, done.stderr), done.stderr
    assert snapshot(copied) == before


@pytest.mark.parametrize(
    ("format", "text", "expected"),
    [
        ("llama-bench", bench()[:300], r"x:1: is damaged: "),
        ("optimum-benchmark", "{", r"x:1: is damaged: "),
        ("optimum-benchmark", '{"config": {}, "report": {"forward": {}}}', r"its configuration has no `backend` and `scenario`"),
        ("optimum-benchmark", "[" * 100_000, r"is nested too deeply"),
        ("llama-bench", TIMM, r"x:1: is damaged: "),
        ("timm", bench(), r"x:1: lacks the column"),
        ("eval-results", "a: b\n", r"is no list of results, each with `dataset:` and `value:`"),
        ("eval-results", "- dataset: [\n", r"x:\d: is not well-formed YAML"),
    ],
)  # fmt: skip
def test_a_format_that_it_is_not(format: str, text: str, expected: str, real: Catalog, tmp_path: Path) -> None:
    with pytest.raises(FitcardError, match=expected):
        planned(real, tmp_path, text, "x", format=format)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"--url": f"https://github.com/huggingface/pytorch-image-models/blob/main/results/{NAME}"}, r"Invalid value for '--url': .* is not pinned: the file there can change\."),
        ({"--url": "results.csv"}, r"Invalid value for '--url': results\.csv is no address"),
        ({"--gpu": "rtx 9999"}, r"no GPU is called 'rtx 9999'"),
        ({"--read": "yesterday"}, r"Invalid value for '--read'"),
        ({"--read": "2999-01-01"}, r"Invalid value for '--read': 2999-01-01 is in the future"),
        ({"--title": None}, r"Missing option '--title'"),
        ({"--licence": None}, r"Missing option '--licence'"),
        ({"--format": "mlperf"}, r"Invalid value for '--format'"),
    ],
)  # fmt: skip
def test_wrong_words(change: dict[str, str | None], expected: str, copied: Path, tmp_path: Path, cli: Cli) -> None:
    """Exit code 2, nothing written."""
    (tmp_path / NAME).write_text(TIMM)
    before = snapshot(copied)
    options = {**dict(zip(OPTIONS[::2], OPTIONS[1::2], strict=True)), **change}
    words = [word for name, value in options.items() if value is not None for word in (name, value)]
    done = cli("import", tmp_path / NAME, *words, catalog=copied)
    assert done.returncode == 2
    assert re.search(expected, done.stderr), done.stderr
    assert "Traceback" not in done.stderr and snapshot(copied) == before


def test_a_file_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    done = cli("import", tmp_path / "nowhere.csv", *OPTIONS)
    assert done.returncode == 2 and "does not exist" in done.stderr


@pytest.mark.parametrize(
    ("url", "pinned"),
    [
        (source_of(NAME).url, True),
        (f"https://raw.githubusercontent.com/o/r/{COMMIT}/a.csv", True),
        (f"https://huggingface.co/o/n/blob/{COMMIT}/.eval_results/a.yaml", True),
        ("https://github.com/ggml-org/llama.cpp/discussions/4167#discussioncomment-1", True),
        ("https://example.org/results.json", True),
        (f"https://github.com/o/r/blob/{COMMIT[:12]}/a.csv", False),
        ("https://raw.githubusercontent.com/o/r/main/a.csv", False),
        ("https://huggingface.co/o/n/resolve/main/a.json", False),
        ("https://github.com/o/r", False),
        ("ftp://example.org/a", False),
        ("https://example.org/a b", False),
    ],
)
def test_addresses_that_stay_what_they_are(url: str, pinned: bool) -> None:
    assert (unpinned(url) is None) == pinned


def test_two_models_cannot_have_one_tower_of_timm(copied: Path) -> None:
    path = copied / "models/google/siglip2-so400m-patch14-384.yaml"
    path.write_text(path.read_text().replace("\nfamily:", "\ntimm: vit_so400m_patch14_siglip_384\nfamily:", 1))
    with pytest.raises(
        CatalogError,
        match=r"siglip2-so400m-patch14-384\.yaml:\d+: timm: is also that of google/siglip-so400m-patch14-384: keep one",
    ):
        load(copied)


def test_the_command_says_what_it_did(copied: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / NAME).write_text(TIMM)
    (copied / "published" / f"{SMALL}.yaml").unlink()
    before = snapshot(copied)
    dry = cli("import", tmp_path / NAME, *OPTIONS, "--dry-run", catalog=copied)
    assert dry.returncode == 0 and snapshot(copied) == before
    assert "timm benchmark CSV: 3 rows, 1 new, 1 on record, 0 to add by hand, 1 not mapped\n" in dry.stdout
    assert "not mapped, 1: its model is not in the catalog:\n  row resnet50\n" in dry.stdout
    assert dry.stdout.endswith("nothing is written\n")
    done = cli("import", tmp_path / NAME, *OPTIONS, "--json", "--read", "2026-01-02", catalog=copied)
    document = json.loads(done.stdout)
    assert document["counts"] == {"rows": 3, "new": 1, "on_record": 1, "to_add_by_hand": 0, "not_mapped": 1}
    assert [(row["model"], row["on_record"]) for row in document["mapped"]] == [(SMALL, False), (SO400M, True)]
    assert document["unmapped"] == [{"where": "row resnet50", "reason": "its model is not in the catalog"}]
    assert [Path(path).relative_to(copied).as_posix() for path in document["written"]] == [f"published/{SMALL}.yaml"]
    assert load(copied).published[SMALL].sources["timm-amp-nchw-pt240-cu124-rtx4090"].read == "2026-01-02"
