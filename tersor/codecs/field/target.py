"""The bound of a file that is asked for by its size, or by its PSNR.

    crops --secant, in logarithms--> a bound and the cheapest way --one pass--> a file;
    off by too much: crops say which bound makes up for what this one is off --> another pass

All variables of a file share its size: their bounds are one share of their ranges. A PSNR holds for each.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

from tersor.codecs.field.encode import CodedVariable, VariableEncoder
from tersor.codecs.field.sample import Sample
from tersor.errors import SignalError

FIRST_SHARE = 1e-3  # G: of the range, that a search begins with
LEAST_SHARE = 1e-12  # G: of the range
STEPS = 7  # G: most bounds that crops are judged at
FAR = 30.0  # G: most a bound changes by in a step
SLOPE = -0.4  # G: of the logarithm of sizes over that of bounds, until it is known
AIM, MOST = 1.025, 1.06  # G: of the ratio asked for: aimed at, and not corrected below
PASSES = 6  # G
AIM_DB, MOST_DB = 0.05, 0.4  # G: above the PSNR asked for: aimed at, and not corrected below
NEAR = 0.02  # G: in logarithms, where a search over crops may end
CLOSE = 1.05  # G: two bounds, of which one is too small, that need nothing between them


def reach_ratio(variables: Sequence[VariableEncoder], ratio: float, overhead: int) -> list[CodedVariable]:
    """The variables in so few bytes, by the smallest bound found.

    Args:
        variables: of a file; those that are to be exact stay so.
        ratio: of the bytes of all values to those of the file.
        overhead: bytes of the file beside its payloads.

    Raises:
        SignalError: a ratio that is out of reach.
    """
    raw = sum(v.cells.nbytes for v in variables)
    fixed = [v.exact or not _extent(v) for v in variables]
    kept = [v.code(0.0).made() if f else None for v, f in zip(variables, fixed, strict=True)]
    free = [v for v, f in zip(variables, fixed, strict=True) if not f]
    wanted = raw / ratio - overhead - sum(k.size for k in kept if k)

    def together(made: list[CodedVariable]) -> list[CodedVariable]:
        rest = iter(made)
        return [k or next(rest) for k in kept]

    if not free:
        if wanted >= 0:
            return together([])
        raise _out_of_reach(ratio, raw)
    samples = [Sample(v.cells, v.effort) for v in free]
    extents = [_extent(v) for v in free]

    def judged(share: float) -> float:
        pairs = zip(samples, extents, strict=True)
        return _log(sum(s.judge(share * e).size for s, e in pairs)) - _log(wanted)

    def made(share: float) -> list[CodedVariable]:
        trio = zip(free, samples, extents, strict=True)
        return [v.code(share * e, s.way).made() for v, s, e in trio]

    def size(coded: list[CodedVariable]) -> int:
        return sum(c.size for c in coded)

    share = FIRST_SHARE
    if judged(share) <= 0 and sum(s.exact_size() for s in samples) <= MOST * wanted:
        coded = made(0.0)
        if size(coded) <= wanted:
            return together(coded)
    share = _solve(judged, share, 0.0, NEAR)
    for s, e in zip(samples, extents, strict=True):
        s.choose(share * e)
    best: list[CodedVariable] | None = None
    good, bad, aim = 1.0, LEAST_SHARE, -math.log(AIM)
    sizes = set[int]()
    for _ in range(PASSES):
        coded = made(share)
        flat = size(coded) in sizes  # on a lattice: many bounds make the same file
        sizes.add(size(coded))
        off = _log(size(coded)) - _log(wanted)
        if off <= 0:
            best, good = coded, share
            if off >= -math.log(MOST):
                break
        else:
            bad = share
        if good <= bad * CLOSE or share == LEAST_SHARE:
            break
        if share == 1.0 and off > 0:
            raise _out_of_reach(ratio, raw)
        if flat:
            share = math.sqrt(bad * good)
            continue
        here = judged(share)
        following = _solve(judged, share, here + aim - off, NEAR / 4)
        if best is None and share * FAR > 1 and off > 0 and following <= share:
            following = 1.0
        share = following if bad < following < good else math.sqrt(bad * good)
    if best is None:
        best = made(1.0)
        if size(best) > wanted:
            raise _out_of_reach(ratio, raw)
    return together(best)


def reach_psnr(variable: VariableEncoder, psnr: float) -> CodedVariable:
    """The variable with at least this PSNR by its range, in dB, by the largest bound found."""
    low, high = variable.cells.range
    count = variable.cells.extremes[0]
    if not math.isfinite(high - low) or high == low:
        return variable.code(0.0)
    sample, goal = Sample(variable.cells, variable.effort), 2 * _log(high - low) - psnr * math.log(10) / 10

    def judged(bound: float) -> float:
        return goal - _log(sample.judge(bound).squared_error)

    start = (high - low) * 10 ** (-psnr / 20) * math.sqrt(3)
    bound = _solve(judged, start, AIM_DB * math.log(10) / 10, NEAR / 4, slope=-2.0, most=high - low)
    sample.choose(bound)
    best: CodedVariable | None = None
    good, bad = 0.0, math.inf
    for _ in range(PASSES):
        coded = variable.code(bound, sample.way).made()
        over = 10 / math.log(10) * (goal - _log(math.fsum(coded.squared_error) / count))
        if over >= 0:
            best, good = coded, bound
            if over <= MOST_DB or bound >= high - low:
                break
        else:
            bad = bound
        if bad <= good * CLOSE:
            break
        following = min(bound * 10 ** (min(max(over - AIM_DB, -20.0), 20.0) / 20), high - low)
        bound = following if good < following < bad else math.sqrt(max(good, bound / FAR) * bad)
    return best or variable.code(0.0)


def _solve(
    judged: Callable[[float], float],
    start: float,
    level: float,
    near: float,
    slope: float = SLOPE,
    most: float = 1.0,
) -> float:
    """Where a function that falls over the logarithm of its argument has fallen to `level`: secants, kept
    between what is above it and what is below.
    """
    low, high = math.log(most * LEAST_SHARE), math.log(most)
    x = min(max(math.log(start), low), high)
    before: tuple[float, float] | None = None
    for _ in range(STEPS):
        y = judged(math.exp(x)) - level
        if abs(y) <= near:
            break
        if y > 0:
            low = x
        else:
            high = x
        if before and before[0] != x and (y - before[1]) / (x - before[0]) < 0:
            slope = (y - before[1]) / (x - before[0])
        before = x, y
        following = x + min(max(-y / slope, -math.log(FAR)), math.log(FAR))
        x = following if low < following < high else min(max(following, low), high)
        if x == before[0]:
            break
        if x in (low, high) and low > math.log(most * LEAST_SHARE) and high < math.log(most):
            x = (low + high) / 2
    return math.exp(x)


def _extent(v: VariableEncoder) -> float:
    low, high = v.cells.range
    return high - low if math.isfinite(high - low) else sys.float_info.max


def _log(x: float) -> float:
    """The logarithm, of nothing a very small one."""
    return math.log(max(x, 1e-300))


def _out_of_reach(ratio: float, raw: int) -> SignalError:
    return SignalError(
        f"a ratio of {ratio:g} is out of reach: even at an error as large as the range the file is larger "
        f"than the {raw / ratio:.0f} bytes wanted"
    )
