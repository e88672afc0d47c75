"""Names as people type them, and as drivers and benchmarks print them."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from fitcard.catalog import Catalog, UnknownName
from fitcard.catalog.errors import AmbiguousName
from fitcard.catalog.gpu_names import GpuNames
from fitcard.catalog.host import gpu_of_device
from fitcard.catalog.names import find_gpu, find_model, find_quantization, gpu_index, match_gpu

CASES = Path(__file__).parents[1] / "cases"
GIB = 2**30


@pytest.fixture(scope="module")
def names(real: Catalog) -> GpuNames:
    """The GPU names of the real catalog."""
    return gpu_index(real)


def answer(names: GpuNames, typed: str) -> str | None:
    """The id that a name finds; None for none or several."""
    try:
        return names.match(typed).gpu
    except UnknownName:
        return None


@pytest.mark.parametrize(
    ("typed", "gpu"),
    [
        ("4090", "rtx-4090"), ("RTX 4090", "rtx-4090"), ("rtx4090", "rtx-4090"), ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("RTX 3080 12GB", "rtx-3080-12gb"), ("RTX 3080 10GB", "rtx-3080"), ("4060", "rtx-4060"), ("4060 laptop", "rtx-4060-laptop"),
        ("7900 XTX", "rx-7900-xtx"), ("H100", "h100-sxm"), ("b580", "arc-b580"), ("M4 Max", "apple-m4-max-40-core-64gb"),
        # What drivers, benchmarks and shops print.
        ("NVIDIAGeForceRTX4090", "rtx-4090"), ("nvidia rtx 3060 12 gb", "rtx-3060"), ("3060 12g", "rtx-3060"),
        ("RTX 3080 10240MiB", "rtx-3080"), ("RTX 5090 32GB GDDR7", "rtx-5090"), ("GTX 1650 GDDR6", "gtx-1650-gddr6"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "rtx-4090-laptop"), ("RTX 4090 Mobile", "rtx-4090-laptop"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"), ("NVIDIA GH200 480GB", "gh200-96gb"), ("Tesla V100-SXM2-32GB", "v100-sxm2-32gb"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"), ("AMD Instinct MI300X OAM", "instinct-mi300x"),
        ("Intel(R) Arc(TM) Pro B70 Graphics", "arc-pro-b70"), ("Intel(R) Arc(tm) B580 Graphics (BMG G21)", "arc-b580"),
        ("AMD Radeon 8060S Graphics", "ryzen-ai-max-395-128gb"), ("AMD Radeon 780M Graphics (RADV PHOENIX)", "radeon-780m-16gb"),
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)", "rx-7900-xtx"), ("gfx1150", "radeon-890m-32gb"),
        ("NVIDIA GeForce RTX 4080/PCIe/SSE2", "rtx-4080"), ("RTX 4090 Founders Edition", "rtx-4090"), ("RTX 4090 (24GB)", "rtx-4090"),
        ("GeForce RTX\u2122 4090", "rtx-4090"),
        ("AMD Radeon RX 6800 XT (radeonsi, navi21, LLVM 17.0.6, DRM 3.54, 6.5.0)", "rx-6800-xt"),
    ],
)  # fmt: skip
def test_gpus(typed: str, gpu: str, real: Catalog) -> None:
    """Words of maker, kind and driver do not matter; memory does."""
    assert find_gpu(real, typed) == gpu


@pytest.mark.parametrize(
    ("typed", "gpu"),
    [
        # lspci
        ("01:00.0 VGA compatible controller: NVIDIA Corporation AD102 [GeForce RTX 4090] (rev a1)", "rtx-4090"),
        ("NVIDIA Corporation GA104M [GeForce RTX 3070 Mobile / Max-Q]", "rtx-3070-laptop"), ("TU104GL [Tesla T4]", "t4"),
        ("Intel Corporation Battlemage G21 [Arc B580]", "arc-b580"), ("NVIDIA Corporation GA106 [GeForce RTX 3060 Lite Hash Rate]", "rtx-3060"),
        # Lists of devices
        ("GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-5c89852c-d268)", "a100-80gb-sxm"), ("GPU 0 - NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("CUDA0: NVIDIA GeForce RTX 4090 (24563 MiB, 23000 MiB free)", "rtx-4090"), ("Chipset Model: Apple M1 Pro", "apple-m1-pro-16-core-16gb"),
        ("GPU[0]\t\t: Card Series: \t\tAMD Radeon RX 7900 XTX", "rx-7900-xtx"), ("deviceName        = NVIDIA GeForce RTX 3090", "rtx-3090"),
        ("Device 0: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes", "rtx-3090"), ("RTX 4090: 24GB", "rtx-4090"),
        ("NVIDIA GeForce RTX 3090 (NVK GA102)", "rtx-3090"), ("Mesa Intel(R) Arc(tm) A750 Graphics (DG2)", "arc-a750"),
        ("AMD Instinct MI300X VF", "instinct-mi300x"),
        # Memory as tools print it: less than the card is sold with
        ("Tesla T4 15360MiB", "t4"), ("NVIDIA A40 46068MiB", "a40"),
        # Shops and people
        ("ASUS TUF Gaming RTX 4090 OC 24GB", "rtx-4090"), ("MSI GeForce RTX 3060 Ventus 2X 12G OC", "rtx-3060"), ("asus dual rtx 4060", "rtx-4060"),
        ("EVGA RTX 3090 FTW3 Ultra", "rtx-3090"), ("ROG Strix RTX 3090", "rtx-3090"), ("Strix Point", "radeon-890m-32gb"),
        ("16 GB RTX 4060 Ti", "rtx-4060-ti-16gb"), ("RTX 3090 24GB VRAM", "rtx-3090"), ("RX 9070 non-XT", "rx-9070"), ("RTX 4070TiS", "rtx-4070-ti-super"),
        ("MacBook Pro M3 Max 128GB", "apple-m3-max-40-core-128gb"), ("Apple M1 Max 64 GB unified memory", "apple-m1-max-32-core-64gb"),
        ("Apple M4 Max with 16-core CPU and 40-core GPU 128GB", "apple-m4-max-40-core-128gb"), ("Apple M3 Max (30 GPU cores) 36GB", "apple-m3-max-30-core-36gb"),
        ("NVIDIA Jetson AGX Orin 64GB Developer Kit", "jetson-agx-orin-64gb"), ("nvidia 4090 card", "rtx-4090"), ("RX7900XTX 24 G", "rx-7900-xtx"), ("RTX 3060 (12GB version)", "rtx-3060"),
    ],
)  # fmt: skip
def test_lines_that_tools_and_shops_print(typed: str, gpu: str, names: GpuNames) -> None:
    """What stands around the GPU's name names no other GPU."""
    assert names.match(typed).gpu == gpu


def test_reported_gpu_names(names: GpuNames) -> None:
    """Each name that found another GPU, several or none in reports from users finds its own."""
    lines = (CASES / "gpu-names.txt").read_text().splitlines()
    assert len(lines) == 11
    for line in lines:
        typed, gpu = line.split(" -> ")
        assert names.match(typed).gpu == gpu, typed


def test_every_name_with_maker_kind_memory_finds_its_own_gpu_or_none(real: Catalog, names: GpuNames) -> None:
    """However a catalog name is dressed up, it never finds another GPU, and with the maker in front it finds its own."""
    kinds = {"NVIDIA": ("GeForce",), "AMD": ("Radeon(TM)",), "Intel": ("(R)",)}
    tried = 0
    for key, gpu in real.gpus.items():
        size = gpu.spec.memory_gib
        for name in dict.fromkeys((key, gpu.spec.name, *gpu.spec.aliases)):
            assert answer(names, f"{gpu.vendor} {name}") == key
            for maker, kind, memory, end in itertools.product(
                ("", gpu.vendor), ("", *kinds.get(gpu.vendor, ())), ("", f"{size:g}GB", f"{size:g} GB"), ("", "GPU", "Graphics")
            ):  # fmt: skip
                typed = " ".join(filter(None, (maker, kind, name, memory, end)))
                assert answer(names, typed) in (key, None), typed
                tried += 1
    assert tried > 40_000


def test_every_id_name_and_alias_finds_its_own_gpu(real: Catalog, names: GpuNames) -> None:
    """An alias that two GPUs share would be an error for whoever types it."""
    for key, gpu in real.gpus.items():
        for typed in (key, gpu.name, gpu.spec.name, *gpu.spec.aliases):
            assert names.match(typed).gpu == key


@pytest.mark.parametrize(
    "typed",
    [
        "RTX 4060 16GB", "RTX 4090 48GB", "RX 7700", "RTX 2070 with Max-Q Design", "GeForce GTX 1060 (Mobile)", "RTX 3050 Ti", "RTX 4050",
        "NVIDIA A100-SXM4-80GB MIG 1g.10gb", "GRID T4-16Q", "NVIDIA TITAN X (Pascal)", "RX 7900M", "Arc A770M", "RTX A5000 Laptop",
        "Tesla V100-DGXS-32GB", "NVIDIA A100-SXM-64GB", "H800", "RTX 5090 D", "AMD Radeon Graphics", "Intel(R) UHD Graphics 770",
        "RTX PRO 4000 Blackwell SFF Edition", "RTX PRO 5000 Blackwell 72GB", "RTX 4090, RTX 3090", "RTX 3080 13312MiB", "RTX 2080 Ti 22GB",
        "2x RTX 4090 + 1x RTX 3090", "NVIDIA Corporation TU106M [GeForce RTX 2070 Mobile]", "NVIDIA RTXA6000-48Q", "RTX 3090s",
    ],
)  # fmt: skip
def test_a_gpu_that_the_catalog_lacks_is_never_taken_for_a_similar_one(typed: str, real: Catalog) -> None:
    """Another chip, another memory size or a slice is not found; the error suggests what is near."""
    with pytest.raises(UnknownName, match="no GPU is called"):
        find_gpu(real, typed)
    assert gpu_index(real).one(typed) is None


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("RTX 4050", "near it: rtx-4050-laptop"), ("RX 7700", "near it: rx-7700-xt"), ("RTX 4095", "near it: rtx-4090"),
        ("RTX 4060 16GB", "near it: rtx-4060, rtx-4060-ti-16gb"), ("K80", "none is near it"), ("GTX 980", "none is near it"),
        ("Voodoo 2", "none is near it"),
    ],
)  # fmt: skip
def test_unknown_names_get_sensible_neighbours_or_none(typed: str, near: str, names: GpuNames) -> None:
    """Those with the same number, else those spelled alike: a K80 is near nothing here."""
    with pytest.raises(UnknownName) as caught:
        names.match(typed)
    assert near in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "count", "gpu"),
    [
        ("2x RTX 3090", 2, "rtx-3090"), ("2 x 3090", 2, "rtx-3090"), ("8xH100", 8, "h100-sxm"), ("RTX 3090 x2", 2, "rtx-3090"),
        ("H100 (x4)", 4, "h100-sxm"), ("dual RTX 3090", 2, "rtx-3090"), ("quad A100 80GB PCIe", 4, "a100-80gb-pcie"), ("8 H100", 8, "h100-sxm"),
        ("RTX 3090 2x", 2, "rtx-3090"), ("A6000x2", 2, "rtx-a6000"), ("4090*2", 2, "rtx-4090"), ("two 3090s", 2, "rtx-3090"), ("2x 4080S", 2, "rtx-4080-super"), ("Single RTX 4090", 1, "rtx-4090"),
        ("4× RTX 4090 24GB", 4, "rtx-4090"), ("RTX 3090", 1, "rtx-3090"), ("7900 XTX", 1, "rx-7900-xtx"),
    ],
)  # fmt: skip
def test_a_number_in_front_or_behind_is_a_count(typed: str, count: int, gpu: str, real: Catalog) -> None:
    """The count is returned; what takes one GPU says so in a line."""
    match = match_gpu(real, typed)
    assert (match.count, match.gpu) == (count, gpu)
    if count > 1:
        with pytest.raises(UnknownName, match=rf"is {count} GPUs, and this takes one: type {gpu}\."):
            find_gpu(real, typed)


def test_no_gpu_at_all_is_an_error(real: Catalog) -> None:
    """A count of zero is refused."""
    with pytest.raises(UnknownName, match="asks for no GPU"):
        match_gpu(real, "0x RTX 3090")


@pytest.mark.parametrize(
    ("typed", "gpu", "said"),
    [
        ("RTX 4060 Ti", "rtx-4060-ti-8gb", "matches 2 GPUs: rtx-4060-ti-8gb (8 GB), rtx-4060-ti-16gb (16 GB); rtx-4060-ti-8gb is assumed"),
        ("NVIDIA RTX 3060", "rtx-3060", "matches 2 GPUs: rtx-3060-8gb (8 GB), rtx-3060 (12 GB); rtx-3060 is assumed"),
        ("RTX 4090", "rtx-4090", None),
        ("RTX 3060 12GB", "rtx-3060", None),
    ],
)  # fmt: skip
def test_a_name_with_several_memory_sizes_says_which_was_taken(
    typed: str, gpu: str, said: str | None, names: GpuNames
) -> None:
    """The GPU that the bare name means, else the smallest memory."""
    match = names.match(typed)
    assert match.gpu == gpu
    assert match.assumption == (f"{typed!r} {said}" if said else None)


@pytest.mark.parametrize(
    ("typed", "count", "some"),
    [
        ("Radeon", 35, "radeon-780m-16gb"), ("7900", 3, "rx-7900-gre, rx-7900-xt, rx-7900-xtx"), ("gfx1151", 3, "ryzen-ai-max-385-32gb"),
        ("(RADV NAVI31)", 6, "radeon-pro-w7800"), ("Orin (nvgpu)", 6, "jetson-agx-orin-32gb"), ("rtx 6000", 5, "quadro-rtx-6000"), ("gfx942:sramecc+:xnack-", 3, "instinct-mi300x"),
        ("Intel(R) Graphics (BMG G21)", 4, "arc-b580"), ("2x 4080s", 2, "rtx-4080, rtx-4080-super"), ("1002:744c", 3, "rx-7900-xtx"),
        ("[AMD/ATI] Navi 31 [Radeon RX 7900 XT/7900 XTX/7900 GRE/7900M] (rev c8)", 3, "rx-7900-xt, rx-7900-xtx, rx-7900-gre"),
    ],
)  # fmt: skip
def test_an_ambiguous_name_lists_the_candidates(typed: str, count: int, some: str, names: GpuNames) -> None:
    """How many there are, and the first of them."""
    with pytest.raises(AmbiguousName) as caught:
        names.match(typed)
    assert f"matches {count} GPUs: " in str(caught.value) and some in str(caught.value)
    assert str(caught.value).endswith("Type one of these, or more of the name.")


@pytest.mark.parametrize(
    ("name", "gib", "gpu"),
    [
        ("NVIDIA GeForce RTX 3060", 12, "rtx-3060"), ("NVIDIA GeForce RTX 3060", 8, "rtx-3060-8gb"), ("NVIDIA GeForce RTX 3060", 24, None),
        ("NVIDIA GeForce RTX 4060 Ti", 16, "rtx-4060-ti-16gb"), ("NVIDIA GeForce RTX 4060 Ti", None, None), ("Tesla T4", 15, "t4"),
        ("Orin (nvgpu)", 61.4, "jetson-agx-orin-64gb"), ("Orin (nvgpu)", 7.4, None), ("NVIDIA A40", 44.99, "a40"),
        ("AMD Radeon Graphics (RADV GFX1151)", 124.5, "ryzen-ai-max-395-128gb"), ("AMD Radeon Graphics", 16, None),
    ],
)  # fmt: skip
def test_a_device_is_the_gpu_with_its_name_and_memory(
    name: str, gib: float | None, gpu: str | None, real: Catalog
) -> None:
    """Drivers and typed names go through one matching; memory that a driver reports decides between equal names."""
    assert gpu_of_device(real, name, None if gib is None else int(gib * GIB)) == gpu


def test_names_are_looked_up_quickly(names: GpuNames) -> None:
    """A name costs well under a millisecond (15 ms when every GPU was compared with regular expressions)."""
    started = time.process_time()
    for _ in range(2_000):
        names.match("NVIDIA GeForce RTX 4090 24GB")
    assert time.process_time() - started < 1


@pytest.mark.parametrize("typed", ["", "   ", "§§", "x" * 500, "(", "2x", "GB", "24GB", "( ) [ ]"])
def test_nonsense_is_an_error_of_one_line(typed: str, real: Catalog) -> None:
    """Whatever is typed, the answer is one short line."""
    with pytest.raises(UnknownName) as caught:
        find_gpu(real, typed)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


SO400M = "google/siglip-so400m-patch14-384"


@pytest.mark.parametrize(
    ("typed", "model"),
    [
        ("siglip so400m", SO400M), (SO400M, SO400M), ("clip 336", "openai/clip-vit-large-patch14-336"),
        (f"https://huggingface.co/{SO400M}", SO400M), (f"huggingface.co/{SO400M}/tree/main", SO400M), (f"hf.co/{SO400M}?x=1", SO400M),
        (f"{SO400M}@main", SO400M), ("siglip_so400m_patch14_384", SO400M), ("ViT-so400m-14-SigLIP-384", SO400M),
        ("hf-hub:timm/ViT-SO400M-14-SigLIP-384", SO400M), ("timm/vit_so400m_patch14_siglip_384.webli", SO400M),
        ("https://huggingface.co/timm/vit_base_patch16_siglip_224.v2_webli", "google/siglip2-base-patch16-224"),
        ("vit_base_patch16_siglip_224.webli", "google/siglip-base-patch16-224"),
        ("vit_base_patch14_dinov2", "facebook/dinov2-base"), ("vit_base_patch14_dinov2.lvd142m", "facebook/dinov2-base"),
        ("ViT-B-16-SigLIP2-naflex", "google/siglip2-base-patch16-naflex"), ("BGE_Large", "BAAI/bge-large-en-v1.5"),
    ],
)  # fmt: skip
def test_models(typed: str, model: str, real: Catalog) -> None:
    """Ids, names, hub addresses and the names of timm and open_clip, with any separators."""
    assert find_model(real, typed) == model


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("siglip", r"'siglip' matches 27 models: google/siglip-base-patch16-224, .* and 21 more\. Type one of these"),
        ("vit_huge_patch14_clip_224.dfn5b", r"no model is called .* \(near it: laion/CLIP-ViT-H-14"),
        ("https://huggingface.co/nobody/nothing", r"no model is called 'https://huggingface\.co/nobody/nothing'"),
    ],
)  # fmt: skip
def test_models_that_are_not_one(typed: str, message: str, real: Catalog) -> None:
    """Other weights of a known architecture are not the model; ambiguous names list the candidates."""
    with pytest.raises(UnknownName, match=message):
        find_model(real, typed)


@pytest.mark.parametrize(
    ("typed", "label"),
    [
        ("q4_k_m", "Q4_K_M"), ("Q4KM", "Q4_K_M"), ("F16", "FP16"), ("float16", "FP16"), ("half", "FP16"), ("bf16", "BF16"),
        ("bfloat16", "BF16"), ("float32", "FP32"), ("q8", "Q8_0"), ("llm.int8()", "INT8-bnb"), ("bnb-4bit", "NF4"), ("float8_e4m3fn", "FP8"),
        ("Q4_K", "Q4_K_M"), ("onnx-int8", "ONNX-INT8"),
    ],
)  # fmt: skip
def test_quantizations(typed: str, label: str, real: Catalog) -> None:
    """The names of torch, llama.cpp and bitsandbytes for a label."""
    assert find_quantization(real, typed) == label


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("8bit", r"'8bit' matches 5 quantizations: FP8, INT8-bnb, INT8-dynamic, INT8-weight-only, Q8_0\. Type one"),
        ("q4", r"'q4' matches 2 quantizations: Q4_0, Q4_K_M\."),
        ("Q4_K_S", r"no quantization is called 'Q4_K_S' \(near it: Q4_K_M\)"),
    ],
)  # fmt: skip
def test_quantizations_that_are_not_one(typed: str, message: str, real: Catalog) -> None:
    """A word for several labels names none of them."""
    with pytest.raises(UnknownName, match=message):
        find_quantization(real, typed)
