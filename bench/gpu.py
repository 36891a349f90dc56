"""What songs, words and covers cost on one card: encode, step and decode against the card's own limits.

    python bench/gpu.py [--quick] [--json] [--csv FILE] [--only 2b.song,card] [--minutes 8.5] [--price-per-hour 3.5]

Models of full size with random weights (`gpu_models.py`), run as the engine runs them
(`serving.engines.acestep_speed`). First the card is measured: large matrix products and copies in memory. The floor of
a case is the larger of its arithmetic (counted by torch, dense attention) over that rate and its traffic over that
bandwidth, where traffic is every weight, input and output of every linear layer and convolution, once. ``ratio`` is
time over floor.

Times are medians after three warm-ups, synchronised with the card; ``first_s`` is the first call, compiling included.
A case that fails is a row that says so, and so is one for which no time was left. Without a card everything runs tiny
on the processor: that shows that the script works and says nothing about any card.
"""

import argparse
import gc
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

# the rooms before this folder, in which a bench has a room's name; so the script needs no installation either
sys.path[:1] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

import torch  # noqa: E402
from gpu_models import STEPS, LanguageModel, Music, Pictures, Place, new_tokens  # noqa: E402
from report import report  # noqa: E402
from torch.nn.modules.module import register_module_forward_hook  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from serving.engines.acestep_speed import Speed  # noqa: E402

WARM_UPS: Final = 3
RUNS: Final = 15
CASE_S: Final = 2.0
"""About how long one case is repeated."""

TINY_NOTE: Final = "tiny, CPU: says nothing about a GPU"
FAST: Final = Speed(attention="window", compiled=True, graphs=True, tiles=True)
FASTEST: Final = Speed(attention="window", compiled=True, graphs=True, tiles=True, channels_last=True)


@dataclass(frozen=True)
class Way:
    """One way to run ACE-Step. ``tiled``: diffusers' tiling is switched on."""

    label: str
    speed: Speed = field(default_factory=Speed)
    tiled: bool = False


EAGER: Final = Way("eager")
WAYS: Final = {
    "fast": Way("window, compiled, graphs, tiles", FAST, tiled=True),
    "fastest": Way("window, compiled, graphs, tiles, channels last", FASTEST, tiled=True),
    "window": Way("window", Speed(attention="window")),
    "graphs": Way("graphs", Speed(graphs=True)),
    "window+graphs": Way("window, graphs", Speed(attention="window", graphs=True)),
    "compiled": Way("compiled", Speed(compiled=True)),
    "flash": Way("flash, graphs", Speed(attention="flash", graphs=True)),
    "flash 3": Way("flash 3, graphs", Speed(attention="_flash_3", graphs=True)),
    "cudnn": Way("cuDNN attention, graphs", Speed(attention="_native_cudnn", graphs=True)),
    "tiled": Way("eager, diffusers' tiles", tiled=True),
    "tiles": Way("tiles", Speed(tiles=True), tiled=True),
    "tiles, channels last": Way("tiles, channels last", Speed(tiles=True, channels_last=True), tiled=True),
}


@dataclass(frozen=True)
class Case:
    """One thing to time."""

    model: str
    part: str
    way: Way = EAGER
    audio_s: float = 0.0
    batch: int = 1

    @property
    def name(self) -> str:
        """As ``--only`` names it."""
        return f"{self.model}.{self.part}"


def plan(*, tiny: bool, quick: bool) -> list[Case]:
    """Every case, the most telling first; cases of one model and way stand together, because each is built anew."""
    if tiny:
        return _tiny_plan(quick=quick)
    lengths = (60.0, 240.0) if quick else (30.0, 60.0, 120.0, 240.0)
    ends = (60.0, 240.0)
    batches = (1, 2) if quick else (1, 2, 4)
    quickest = WAYS["fast"]
    cases = [*_songs("2b", EAGER, ends, (1, 2)), *_parts("2b", EAGER, lengths, ends, batches)]
    cases += [*_songs("2b", quickest, lengths, batches), *_parts("2b", quickest, lengths, ends, batches)]
    cases += [*_songs("xl", EAGER, ends, (1,)), *_songs("xl", quickest, ends, (1, 2))]
    cases += [Case("xl", "step", quickest, audio_s) for audio_s in ends]
    cases += [Case("qwen-4b", part, batch=batch) for part in ("read", "write") for batch in (1, 4)]
    for name in ("sdxl", "z-image"):
        cases += [Case(name, part, batch=batch) for part in ("cover", "step", "decode") for batch in (1, 4)]
    cases += [Case("2b", part, WAYS["fastest"], audio_s) for part in ("song", "decode") for audio_s in ends]
    for name in ("window", "graphs", "window+graphs", "compiled", "flash", "flash 3", "cudnn"):
        cases += [Case("2b", "step", WAYS[name], audio_s) for audio_s in ends]
    for name in ("tiled", "tiles", "tiles, channels last"):
        cases += [Case("2b", "decode", WAYS[name], audio_s) for audio_s in ends]
    return [*cases, Case("qwen-4b", "write", Way("static cache, compiled"))]


def _tiny_plan(*, quick: bool) -> list[Case]:
    """Every part of every model once, on a processor that is no match for a card."""
    batches = (1,) if quick else (1, 2)
    cases = [*_songs("2b", EAGER, (0.5,), batches), *_parts("2b", EAGER, (0.5,), (0.5,), batches)]
    cases += [Case("2b", part, WAYS["window"], 0.5) for part in ("song", "step")]
    cases += [Case("xl", "step", audio_s=0.5), Case("qwen-4b", "read"), Case("qwen-4b", "write")]
    return [*cases, *(Case(name, part) for name in ("sdxl", "z-image") for part in ("cover", "step", "decode"))]


def _songs(model: str, way: Way, lengths: Sequence[float], batches: Sequence[int]) -> Iterator[Case]:
    return (Case(model, "song", way, audio_s, batch) for batch in batches for audio_s in lengths)


def _parts(
    model: str, way: Way, lengths: Sequence[float], ends: Sequence[float], batches: Sequence[int]
) -> Iterator[Case]:
    yield from (Case(model, "encode", way, batch=batch) for batch in batches)
    for part in ("step", "decode"):
        yield from (Case(model, part, way, audio_s) for audio_s in lengths)
    yield from (Case(model, "step", way, audio_s, batch) for audio_s in ends for batch in batches if batch > 1)


@dataclass(frozen=True)
class Card:
    """What the card gives at most, measured."""

    flops_per_s: float
    bytes_per_s: float

    def floor_s(self, flops: float, traffic: float) -> float:
        """The least time for so much arithmetic and traffic, side by side."""
        return max(flops / self.flops_per_s, traffic / self.bytes_per_s)


class Bench:
    """Times cases on one place until its time is over."""

    def __init__(self, place: Place, until: float, price_per_hour: float) -> None:
        self._place = place
        self._until = until
        self._price_per_hour = price_per_hour
        self._built: tuple[tuple[str, Way], Any] | None = None
        self._floors: dict[tuple[str, str, float, int], float] = {}
        self._floor_of: dict[Case, float] = {}
        self.rows: list[dict[str, object]] = []
        self.card = self._measure_card()

    def run(self, cases: Sequence[Case]) -> None:
        """Time these cases. The floors of a model are all counted at its first, while it stands there plain."""
        counted = set()
        for case in cases:
            if case.model not in counted:
                counted.add(case.model)
                self._count_floors([other for other in cases if other.model == case.model])
            self._run(case)

    def _count_floors(self, cases: Sequence[Case]) -> None:
        for case in cases:
            try:
                if time.monotonic() <= self._until:
                    self._floor_of[case] = self._floor_s(case)
            except Exception:  # noqa: BLE001 - such a case has no floor, and says itself what it lacks
                self._built = None

    def _run(self, case: Case) -> None:
        if time.monotonic() > self._until:
            self._add(case, note="left out: no time was left")
            return
        try:
            call = self._call(self._model(case.model, case.way), case)
            first_s, time_s, peak_gb = self._timed(call)
            self._add(case, time_s=time_s, floor_s=self._floor_of.get(case), peak_gb=peak_gb, first_s=first_s)
        except Exception as error:  # noqa: BLE001 - whatever one case lacks, the others go on
            self._built = None
            self._add(
                case, note=f"failed: {type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
            )

    def _measure_card(self) -> Card:
        size, copied = (512, 1 << 24) if self._place.tiny else (8192, 1 << 30)
        one, other = self._place.noise(size, size), self._place.noise(size, size)
        _, product_s, _ = self._timed(lambda: one @ other)
        source = torch.empty(copied, dtype=torch.uint8, device=self._place.device)
        target = torch.empty_like(source)
        _, copy_s, _ = self._timed(lambda: target.copy_(source))
        card = Card(2 * size**3 / product_s, 2 * copied / copy_s)
        name = "processor" if self._place.tiny else torch.cuda.get_device_name()
        rates = {
            f"matmul {size} {str(self._place.dtype).removeprefix('torch.')}": (
                product_s,
                card.flops_per_s / 1e12,
                "TFLOP/s",
            ),
            f"copy {copied >> 20} MiB": (copy_s, card.bytes_per_s / 1e12, "TB/s"),
        }
        for part, (time_s, rate, unit) in rates.items():
            self._add(Case("card", part), time_s=time_s, floor_s=time_s, note=f"{name}: {rate:.3g} {unit}")
        return card

    def _model(self, name: str, way: Way) -> Any:
        """The model, built anew for each way: a way cannot be taken back."""
        if self._built is None or self._built[0] != (name, way):
            self._built = None
            gc.collect()
            if not self._place.tiny:
                torch.cuda.empty_cache()
                torch.compiler.reset()
            self._built = ((name, way), _model(name, way, self._place))
        return self._built[1]

    def _call(self, model: Any, case: Case) -> Callable[[], object]:
        """The thing to time, its inputs made before."""
        batch = case.batch
        if case.part in ("encode", "read", "cover"):
            return lambda: getattr(model, case.part)(batch)
        if case.part == "write":
            cache = "static" if "static" in case.way.label else None
            return lambda: model.write(batch, cache=cache)
        if case.part == "song":
            return lambda: model.song(case.audio_s, batch)
        if isinstance(model, Pictures):
            latents = model.start(batch)
            return lambda: getattr(model, case.part)(latents)
        inputs = model.start(case.audio_s, batch)
        if case.part == "decode":
            return lambda: model.decode(inputs["hidden_states"])
        condition = model.encode(batch)
        return lambda: model.step(condition, inputs)

    def _timed(self, call: Callable[[], object]) -> tuple[float, float, float]:
        """The first call and the median of later ones in seconds, and the most memory in 10^9 bytes."""
        if not self._place.tiny:
            torch.cuda.reset_peak_memory_stats()
        times = [self._once(call)]
        times += [self._once(call) for _ in range(0 if self._place.tiny else WARM_UPS - 1)]
        runs = 1 if self._place.tiny else min(RUNS, max(3, int(CASE_S / max(times[-1], 1e-6))))
        peak_gb = 0.0
        median_s = statistics.median(self._once(call) for _ in range(runs))
        if not self._place.tiny:
            peak_gb = torch.cuda.max_memory_allocated() / 1e9
        return times[0], median_s, peak_gb

    def _once(self, call: Callable[[], object]) -> float:
        self._synchronize()
        begun = time.perf_counter()
        call()
        self._synchronize()
        return time.perf_counter() - begun

    def _synchronize(self) -> None:
        if not self._place.tiny:
            torch.cuda.synchronize()

    def _floor_s(self, case: Case) -> float:
        """Counted on the plain model; a whole is the sum of its parts."""
        wholes = {
            "song": [("encode", 1), ("step", STEPS), ("decode", 1)],
            "cover": [("step", 4 if case.model == "sdxl" else 8), ("decode", 1)],
            "write": [("one_token", new_tokens(self._place))],
        }
        if case.part in wholes:
            return sum(times * self._counted_s(case, part) for part, times in wholes[case.part])
        return self._counted_s(case, case.part)

    def _counted_s(self, case: Case, part: str) -> float:
        length_s = 0.0 if part == "encode" else case.audio_s
        key = (case.model, part, length_s, case.batch)
        if key not in self._floors:
            model = self._model(case.model, EAGER)
            if part == "decode" and length_s:
                # the decoder's work grows with the length: counted on a few seconds of one take
                few_s = min(length_s, 10.0)
                few = self._count(self._call(model, Case(case.model, part, EAGER, few_s)))
                self._floors[key] = few * length_s / few_s * case.batch
            elif part == "one_token":
                self._floors[key] = self._count(lambda: model.one_token(case.batch))
            else:
                self._floors[key] = self._count(self._call(model, Case(case.model, part, EAGER, length_s, case.batch)))
        return self._floors[key]

    def _count(self, call: Callable[[], object]) -> float:
        traffic = 0

        def seen(module: torch.nn.Module, inputs: tuple[object, ...], output: object) -> None:
            nonlocal traffic
            weight = getattr(module, "weight", None)
            if isinstance(weight, torch.Tensor) and weight.ndim > 1 and not isinstance(module, torch.nn.Embedding):
                tensors = [weight, *inputs, output]
                traffic += sum(one.numel() * one.element_size() for one in tensors if isinstance(one, torch.Tensor))

        hook = register_module_forward_hook(seen)
        try:
            with FlopCounterMode(display=False) as counter:
                call()
        finally:
            hook.remove()
        return self.card.floor_s(counter.get_total_flops(), traffic)

    def _add(
        self,
        case: Case,
        *,
        time_s: float | None = None,
        floor_s: float | None = None,
        peak_gb: float | None = None,
        first_s: float | None = None,
        note: str = "",
    ) -> None:
        whole = case.part in ("song", "cover") and not self._place.tiny
        made = 3600 / time_s * case.batch if time_s and whole else None
        notes = [text for text in (note, TINY_NOTE if self._place.tiny else "") if text]
        row = {
            "model": case.model,
            "part": case.part,
            "audio_s": case.audio_s or None,
            "batch": case.batch,
            "way": case.way.label,
            "time_ms": time_s and time_s * 1000,
            "floor_ms": floor_s and floor_s * 1000,
            "ratio": time_s / floor_s if time_s and floor_s else None,
            "peak_gb": peak_gb or None,
            "first_s": first_s,
            "per_gpu_hour": made,
            "cost_each": made and self._price_per_hour / made,
            "note": "; ".join(notes),
        }
        self.rows.append({name: "" if value is None else value for name, value in row.items()})


def _model(name: str, way: Way, place: Place) -> Any:
    if name in ("2b", "xl"):
        return Music(name, place, way.speed, tiled=way.tiled)
    return LanguageModel(place) if name == "qwen-4b" else Pictures(name, place)


def wanted(cases: Sequence[Case], only: str) -> list[Case]:
    """The cases whose names begin with one of the words in ``only``; all when it is empty."""
    words = tuple(word.strip() for word in only.split(",") if word.strip())
    return [case for case in cases if not words or f"{case.name} {case.way.label}".startswith(words)]


def main() -> int:
    """Run the bench; 0 also when single cases failed: the table says so."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer lengths and batches")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--csv", type=Path, help="also write the rows to this file")
    parser.add_argument("--only", default="", help="cases whose names begin so, for example 2b.song,sdxl")
    parser.add_argument("--minutes", type=float, default=8.5, help="after so many no further case begins")
    parser.add_argument("--price-per-hour", type=float, default=3.5, help="of the card, in your currency")
    parser.add_argument("--cpu", action="store_true", help="run tiny on the processor though there is a card")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    card = torch.cuda.is_available() and not options.cpu
    place = Place("cuda", torch.bfloat16) if card else Place("cpu", torch.float32)
    if place.tiny:
        torch.set_num_threads(1)
    until = time.monotonic() + 60 * options.minutes
    with torch.no_grad():
        bench = Bench(place, until, options.price_per_hour)
        bench.run(wanted(plan(tiny=place.tiny, quick=options.quick), options.only))
    report("gpu", bench.rows, json=options.json, csv=options.csv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
