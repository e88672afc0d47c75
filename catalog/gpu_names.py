"""Which GPU a name means: what people type, what drivers and benchmarks print, and what a device calls itself.

Words that say only who made it or what kind of thing it is (NVIDIA, GeForce, GPU, (R)) count on neither side, and a
memory size is compared as a size. What is left must be equal: a GPU that merely resembles the name is suggested, never
taken.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from fitcard.catalog.errors import AmbiguousName, UnknownName, listed, shorten

GIB = 2**30

_NOISE = frozenset(
    re.findall(
        r"\w+",
        "nvidia geforce amd ati radeon intel apple gpu gpus graphics tesla instinct corporation inc r tm c "
        "generation edition founders fe desktop series adapter oam w with for vf tegra mesa vram ram memory unified "
        "developer kit devkit engineering reference oc lhr card cards limited version",
    )
)
_GLUED = re.compile("nvidia|geforce|radeon|graphics|gpus?(?![a-z])")
"""Those of them that people write without a space; no other word of a GPU's name has these letters in it."""
_BOARDS = re.compile(
    r"\b(?:asus(?: dual)?|rog|(?:rog )?strix(?! ?(?:halo|point))|tuf|proart|prime|astral|gaming(?: [xz])?(?: trio)?|msi|ventus(?: [23]x)?"
    r"|suprim(?: x)?|gigabyte|aorus|windforce|eagle|aero|evga|ftw3?(?: ultra)?|xc3?(?: ultra)?|zotac|trinity|twin edge|amp|palit|gamerock"
    r"|gamingpro|pny|xlr8|verto|inno3d|ichill|twin x2|gainward|phoenix gs|galax|kfa2|colorful|igame|manli|sapphire|pulse|nitro\b\+?"
    r"|xfx|merc ?\d*|speedster|swft ?\d*|qick ?\d*|powercolor|hellhound|red devil|asrock|phantom|taichi|challenger|steel legend|sparkle"
    r"|maxsun|gunnir|acer|predator|bifrost|lite hash rate)\b"
)
"""Who built the board and how it is cooled, as shops write it: the GPU on it is the same."""
_COMPUTERS = re.compile(r"\b(?:macbook(?: pro| air)?|mac ?(?:mini|studio)|mac pro|imac|\d+[ -]?core cpu(?: and)?)\b")
_MAX_Q = re.compile(r"\b(?:max-q / mobile|mobile / max-q)\b")
_TI_SUPER = re.compile(r"(?<=ti) ?s\b")
_CORES = re.compile(r"\b(\d+)[ -]?(?:gpu )?cores?\b")
_SAME = {"mobile": "laptop", "notebook": "laptop", "laptops": "laptop"}
_VARIANTS = frozenset(re.findall(r"\w+", "ti super xt xtx gre laptop d s m max ultra pro sff server workstation ada q"))
"""Words that make another GPU of a name: `RX 7700` is not the RX 7700 XT."""
_MEMORY = re.compile(
    r"(?<![\d.])(?P<gb>\d{1,3}(?:\.\d+)?) ?gi?b\b|(?<![\d.a-z])(?P<g>\d{1,3}) ?g\b|(?<!\d)(?P<mb>\d{3,6}) ?mi?b\b"
)
_MEMORY_TYPE = re.compile(r"(lp|g)?ddr\w*|d6|hbm\w*")
_NUMBERS = {
    "single": 1,
    "one": 1,
    "dual": 2,
    "double": 2,
    "two": 2,
    "triple": 3,
    "three": 3,
    "quad": 4,
    "four": 4,
    "eight": 8,
}
_COUNT_BEFORE = re.compile(
    rf"(\d{{1,3}}) ?[x×*] ?(?=\S)|(\d{{1,2}}) (?=[a-z]|\d{{3}})(?!g(?:i?b)?\b|core)|({'|'.join(_NUMBERS)}) (?=\S)"
)
_COUNT_BEHIND = re.compile(r"(?:[\s(]|(?<=\d))[x×*] ?(\d{1,3})\)?\Z|[\s(](\d{1,3}) ?[x×]\)?\Z")
_PREFIX = re.compile(
    r"(?:gpu *\[\d+\])?[^()\[\]]*[:=]\s+(?!\d+ ?[gm]i?b)(?=\S)|(?:gpu|device|card|adapter) ?#?\d{1,2}\b *[-–]? *(?=\S)"
)
"""What lists of devices put in front of a name: `GPU 0: `, `Vulkan1: `, `Chipset Model: `, `deviceName = `."""
_PCI_CHIP = re.compile(r"(?:corporation|inc\.) +[\w ]+\Z|\A *(?:[a-z]{2}\d{3}[a-z]*|navi \d+)\Z")
"""How what lspci writes in front of the bracket with the products ends: the maker and the chip."""
_MARKS = re.compile(
    r"\((?:r|tm|c)\)|[®™©]|\[amd/ati\]|/pcie/sse2\b|, compute capability.*|:(?:sramecc|xnack)[+-]|\bnon[ -]?(?:ti|xtx?|super)\b"
)
_BRACKETS = re.compile(r"\(([^()]*)\)|\[([^\[\]]*)\]")
_DRIVER = re.compile(
    r"(radv|radeonsi|amdvlk|nvk|nvgpu|navi ?\d+|gfx\w+|dg2|bmg|acm|lnl|mtl|arl|ptl|llvm|[agt][a-z]\d{3}[a-z]*|rev|uuid|uma)\b.*",
    re.DOTALL,
)
"""What a bracket begins with that only names driver and chip: (RADV NAVI31), (nvgpu), (BMG G21), (rev a1)."""
_FREE = re.compile(r", *\d+ ?mi?b free")
_CHIP_NAMES = {"orin": "ga10b"}
"""What a driver calls a chip that data sheets name otherwise: `nvidia-smi` of a Jetson says "Orin (nvgpu)"."""
_TOKEN = re.compile(
    r"(?:rtx|gtx|rx|arc)(?=\d)|\d+(?=ti|super|xtx?\b|gre|laptop)|(?:ti|xtx?)(?=super|laptop|\b)|[^\W_]+"
)

SHOWN = 6
"""How many candidates a message names."""


class Named(Protocol):
    """What is read of a GPU: `GpuSummary` of the catalog's index has it."""

    @property
    def name(self) -> str: ...
    @property
    def spec_name(self) -> str: ...
    @property
    def aliases(self) -> tuple[str, ...]: ...
    @property
    def memory_gib(self) -> float: ...
    @property
    def chips(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Name:
    """A name in parts."""

    count: int
    """How many GPUs it speaks of: 2 in `2x RTX 3090`."""
    words: tuple[str, ...]
    """What identifies the GPU, in lower case, without maker, kind and memory."""
    sizes: tuple[float, ...]
    """Memory sizes that it states, in the GB or GiB that it states them in."""
    reported: tuple[float, ...] = ()
    """Those that it states in MiB, as tools do, in GiB: what is left of the memory after firmware and ECC."""

    @property
    def key(self) -> str:
        """Two names with equal keys are of the same GPU but for its memory."""
        return "".join(self.words)

    def singular(self) -> Name:
        """The name without the s of a plural: `two 3090s`."""
        words = (
            (*self.words[:-1], re.sub(r"(?<=\d)s\Z", "", self.words[-1]))
            if self.count > 1 and self.words
            else self.words
        )
        return replace(self, words=words)

    @property
    def loose_key(self) -> str:
        """The same without the kind of memory (HBM3, GDDR6X), which tells few GPUs apart."""
        return "".join(word for word in self.words if not _MEMORY_TYPE.fullmatch(word))


@dataclass(frozen=True)
class GpuMatch:
    """What a typed name means."""

    gpu: str
    """The id."""
    count: int
    """How many of them: 2 for `2x RTX 3090`."""
    assumption: str | None
    """What was assumed, in a sentence, where GPUs of this name differ in memory and the name states none."""


def parse(text: str) -> Name:
    """The parts of a name as people, drivers or the catalog write it."""
    rest = _MARKS.sub(" ", text.lower()).strip()
    if products := _pci_products(rest):
        rest = products
    elif prefix := _PREFIX.match(rest):
        rest = rest[prefix.end() :]
    count = _COUNT_BEFORE.match(rest) or _COUNT_BEHIND.search(rest)
    if count:
        rest = rest[: count.start()] + " " + rest[count.end() :]
    rest = _COMPUTERS.sub(" ", _BOARDS.sub(" ", _BRACKETS.sub(_bracket, _FREE.sub("", rest))))
    sizes: list[float] = []
    reported: list[float] = []
    for found in _MEMORY.finditer(rest):
        if found["mb"]:
            reported.append(float(found["mb"]) / 1024)
        else:
            sizes.append(float(found["gb"] or found["g"]))
    rest = _GLUED.sub(" ", _CORES.sub(r" \1 core ", _MEMORY.sub(" ", rest)))
    words = (_SAME.get(word, word) for word in _plain_words(_TI_SUPER.sub(" super", rest)))
    kept = tuple(word for word in words if word not in _NOISE)
    return Name(_number(count), kept, tuple(sizes), tuple(reported))


def _number(count: re.Match[str] | None) -> int:
    """How many GPUs a name begins or ends with: `2x`, `dual`."""
    word = next((group for group in count.groups() if group), "1") if count else "1"
    return _NUMBERS.get(word) or int(word)


def _pci_products(text: str) -> str | None:
    """The products in a line of lspci: `AD102 [GeForce RTX 4090] (rev a1)`."""
    head, bracket, tail = text.partition(" [")
    if not bracket or not _PCI_CHIP.search(head[-80:]):
        return None
    return _MAX_Q.sub("laptop", tail.partition("]")[0])


def _bracket(match: re.Match[str]) -> str:
    """What a bracket adds to a name: nothing where it only names driver and chip."""
    content = (match[1] or match[2] or "").strip()
    return " " if _DRIVER.fullmatch(content) else f" {content} "


class GpuNames:
    """Every name of every GPU, to look names up in."""

    def __init__(self, gpus: Mapping[str, Named]) -> None:
        self._gpus = gpus
        self._by_key: dict[str, dict[str, set[float]]] = {}
        """Key of a name -> the GPUs with that name -> the memory sizes that they are sold or called with."""
        self._default: dict[str, str] = {}
        """Key of a name -> the GPU that has it without a memory size."""
        self._by_chip: dict[str, list[str]] = {}
        self._parsed: dict[str, list[Name]] = {}
        for gpu, entry in gpus.items():
            names = [parse(text) for text in (gpu, entry.spec_name, *entry.aliases)]
            self._parsed[gpu] = names
            for name in names:
                sizes = self._by_key.setdefault(name.key, {}).setdefault(gpu, {entry.memory_gib})
                sizes.update(name.sizes)
                if not name.sizes:
                    self._default.setdefault(name.key, gpu)
            for chip in entry.chips:
                # A PCI id stands for its device id too, since not every system tells the revision.
                for key in dict.fromkeys((_joined(chip), _joined(chip[:9]) if ":" in chip else _joined(chip))):
                    self._by_chip.setdefault(key, []).append(gpu)

    def called(self, name: str) -> list[str]:
        """The GPUs with this very name, or with the chip that is all that it says, whatever their memory."""
        parts = parse(name)
        return self._named(parts) or self._of_chip(name, parts)

    def one(self, name: str, memory_bytes: int | None = None) -> str | None:
        """The GPU with this name and the memory that a driver reports; None where none or several have both."""
        parts, fitting = parse(name), self.called(name)
        if memory_bytes is not None:
            fitting = self._nearest(fitting, memory_bytes)
        elif len(fitting) > 1 and self._default.get(parts.key) in fitting:
            fitting = [self._default[parts.key]]
        return fitting[0] if len(fitting) == 1 and parts.count == 1 else None

    def by_pci_id(self, pci_id: str, memory_bytes: int | None) -> list[str]:
        """The GPUs with a PCI id ("1002:744c:c8", or "1002:744c" without the revision), and so much memory."""
        fitting = list(dict.fromkeys(self._by_chip.get(_joined(pci_id), ())))
        return self._nearest(fitting, memory_bytes) if memory_bytes is not None else fitting

    def match(self, typed: str) -> GpuMatch:
        """What a person's words mean. Raises UnknownName for no GPU, AmbiguousName for several.

        GPUs of one name that differ in memory alone are no reason to ask: the one that people mean by the bare name is
        taken, else the one with the smallest memory, and the answer says so. An id is only itself.
        """
        if typed in self._gpus:
            return GpuMatch(typed, 1, None)
        name = parse(typed)
        if name.count < 1:
            raise UnknownName(f"{shorten(typed)} asks for no GPU: type how many, such as 2x.")
        if len(fitting := self._products(typed)) > 1:
            raise _several(typed, fitting)
        singular = self._named(name.singular())
        if len(both := {*self._named(name), *singular}) > 1 and typed.endswith("s") and len(singular) < len(both):
            raise _several(typed, sorted(both))  # two 4080s: of the RTX 4080, or the 4080 S
        if fitting := self._named(name) or singular:
            return self._by_memory(typed, name, sorted(fitting, key=lambda gpu: (self._gpus[gpu].memory_gib, gpu)))
        if not self._sizes_by_gpu(name):  # nor with another memory
            fitting = self._of_chip(typed, name) or self._with_all_words(typed, name)
        if len(fitting) > 1:
            raise _several(typed, fitting)
        if not fitting:
            near = self._neighbours(name)
            advice = f"near it: {', '.join(near)}" if near else f"there are {len(self._gpus)}, and none is near it"
            raise UnknownName(f"no GPU is called {shorten(typed)} ({advice}).")
        return GpuMatch(fitting[0], name.count, None)

    def _by_memory(self, typed: str, name: Name, fitting: list[str]) -> GpuMatch:
        """One of the GPUs of a name, which are in the order of their memory."""
        if len(fitting) == 1:
            return GpuMatch(fitting[0], name.count, None)
        default = self._default.get(name.key) or self._default.get(name.loose_key)
        taken = default if default in fitting else fitting[0]
        sizes = ", ".join(f"{gpu} ({self._gpus[gpu].memory_gib:g} GB)" for gpu in fitting)
        assumption = f"{shorten(typed)} matches {len(fitting)} GPUs: {sizes}; {taken} is assumed"
        return GpuMatch(taken, name.count, assumption)

    def _named(self, name: Name) -> list[str]:
        """The GPUs with this very name, and with the memory that it states."""
        every = self._sizes_by_gpu(name).items()
        return [gpu for gpu, sizes in every if _has_memory(name, sizes)]

    def _sizes_by_gpu(self, name: Name) -> Mapping[str, set[float]]:
        return self._by_key.get(name.key) or self._by_key.get(name.loose_key) or {}

    def _of_chip(self, text: str, name: Name) -> list[str]:
        """The GPUs with the chip that is all that a name says, in brackets or not: gfx1151, (RADV NAVI31), Orin."""
        inside = [
            word for match in _BRACKETS.finditer(text.lower()) for word in (_joined(match[0]), *_plain_words(match[0]))
        ]
        chips = [name.key] if name.words else inside
        return [gpu for chip in chips for gpu in self._by_chip.get(_CHIP_NAMES.get(chip, chip), ())]

    def _products(self, typed: str) -> list[str]:
        """The GPUs among several products that lspci names: `[Radeon RX 7900 XT/7900 XTX/7900M]`."""
        products = (_pci_products(_MARKS.sub(" ", typed.lower())) or "").split("/")
        names = [parse(product) for product in products] if len(products) > 1 else []
        return list(dict.fromkeys(gpu for name in names for gpu in self._named(name)))

    def _nearest(self, gpus: Iterable[str], memory_bytes: int) -> list[str]:
        """Those whose memory a driver may report as so much: up to a tenth goes to ECC and firmware."""
        off = {gpu: abs(self._gpus[gpu].memory_gib * GIB / memory_bytes - 1) for gpu in gpus}
        near = min((distance for distance in off.values() if distance < 0.1), default=None)
        return [gpu for gpu, distance in off.items() if distance == near]

    def _with_all_words(self, typed: str, name: Name) -> list[str]:
        """GPUs that have every word of a shortened name, unless that leaves out a word that makes another GPU of it."""
        if not name.words:  # "Radeon" alone
            words = set(_plain_words(typed))
            return [gpu for gpu, all_words in self._all_words() if words and words <= all_words]
        wanted = set(_tokens(name))
        fitting: dict[str, set[str]] = {}
        """With the words that the typed name leaves out."""
        for gpu, names in self._parsed.items():
            rest = [set(_tokens(own)) - wanted for own in names if wanted <= set(_tokens(own))]
            sizes = {self._gpus[gpu].memory_gib, *(size for own in names for size in own.sizes)}
            if rest and _has_memory(name, sizes):
                fitting[gpu] = min(rest, key=len)
        certain = len(fitting) > 1 or not any(left_out & _VARIANTS for left_out in fitting.values())
        return list(fitting) if certain else []

    def _all_words(self) -> Iterator[tuple[str, set[str]]]:
        for gpu, entry in self._gpus.items():
            yield gpu, {word for text in (entry.name, *entry.aliases) for word in _plain_words(text)}

    def _neighbours(self, name: Name) -> list[str]:
        """GPUs that a person may have meant: those with the same number first, then those spelled alike."""
        numbers = {word for word in _tokens(name) if re.search(r"[a-z]\d|\d{3}", word)}
        spelling = difflib.SequenceMatcher(None, "", name.key[:60])
        same_number: dict[str, float] = {}
        spelled_alike: dict[str, float] = {}
        for gpu, names in self._parsed.items():
            if any(numbers & set(_tokens(own)) for own in names):
                same_number[gpu] = max(_alike(spelling, own.key) for own in names)
            elif not same_number and (alike := max(_alike(spelling, own.key, 0.85) for own in names)):
                spelled_alike[gpu] = alike
        near = same_number or spelled_alike
        return sorted(near, key=lambda gpu: (-near[gpu], gpu))[:SHOWN]


def _several(typed: str, fitting: list[str]) -> AmbiguousName:
    count = f"matches {len(fitting)} GPUs"
    return AmbiguousName(f"{shorten(typed)} {count}: {listed(fitting, SHOWN)}. Type one of these, or more of the name.")


def _alike(spelling: difflib.SequenceMatcher[str], key: str, least: float = 0) -> float:
    """How alike two names are spelled, from 0 to 1; 0 where that is less than `least`."""
    spelling.set_seq1(key)
    if spelling.real_quick_ratio() < least or spelling.quick_ratio() < least:  # bounds that cost little
        return 0
    return ratio if (ratio := spelling.ratio()) >= least else 0


def _has_memory(name: Name, sizes: set[float]) -> bool:
    """Whether a GPU with these sizes has all the memory that a name states."""
    return all(_is_one_of(size, sizes) for size in name.sizes) and all(
        any(0.9 <= size / each <= 1.02 for each in sizes) for size in name.reported
    )


def _is_one_of(size: float, sizes: Iterable[float]) -> bool:
    """Whether a stated size is one of these, in GiB: names also state GB of 10^9 bytes, and round."""
    return any(abs(size / each - 1) <= 0.02 or abs(size * 1e9 / (each * GIB) - 1) <= 0.005 for each in sizes)


def _tokens(name: Name) -> list[str]:
    """The words of a name, those written as one taken apart: `rtx4060ti` is rtx, 4060, ti."""
    return [token for word in name.words for token in _TOKEN.findall(word)]


def _plain_words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _joined(text: str) -> str:
    return "".join(_plain_words(text))
