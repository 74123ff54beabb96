"""The compiled loop of graphics: few colours, repeated exactly; a pixel is one of a few candidates, or named.

    candidates: the colour that last followed these six neighbours; left, above, above right; left + above -
      above left in the sorted palette; without repetition
    each in turn --is it this one? one bit under mixed contexts--> yes: next pixel
    none of them --bits of its index, under mixed contexts--> colour

Contexts are colours of 2 to 12 neighbours with the candidate, hashed into one table of slots (mixing.py),
and which neighbours are equal. A pixel outside the chunk has the index 0.

Bounds: indices are below 2^16; hashes are taken modulo 2^32 after every product with a number below 2^31.

Source: JBIG2's templates (ITU-T T.88); candidates from contexts as in PPM (Cleary and Witten 1984).
"""

from __future__ import annotations

import numpy as np

from tersor.codecs.lossless.mixing import mixed_bit
from tersor.entropy.compiled import compiled, inlined

# F, all of them; M: those were measured with tools/studies.py lossless.
TOP, SIDE = 8, 8  # the period of ordered dithering
CONTEXTS = 10
INPUTS = CONTEXTS + 1
CANDIDATES = 5
INDEX_CONTEXTS = 3
ROWS = CANDIDATES * 64 + CANDIDATES * 16 + CANDIDATES * 64
REFINED_CONTEXTS = CANDIDATES * 64
COUNT_MAX = 1000  # M
INDEX_COUNT = 60  # M
PRIMES = (0x2C1B3C6D, 0x297A2D39, 0x1B56C4E9, 0x7FEB352D)


@inlined
def joined(h, value):  # pragma: no cover
    """A hash of 32 bits that one more value below 2^17 went into."""
    h = ((h ^ value) * 0x2C1B3C6D) & 0xFFFFFFFF
    return h ^ (h >> 15)


@compiled
def code_graphics(io, buffer, x, colours, mixer, index_mixer, tables, seen):  # pragma: no cover
    """Code or decode indices x in place.

    Args:
        x: int64 [TOP + H, SIDE + W + SIDE], below `colours`; 0 around the chunk.
        colours: of the palette.
        mixer: of the candidates; its slots are a power of two.
        index_mixer: of the indices.
        seen: int64, a power of two, zeros: the colour that last followed a context, plus 1.
    """
    rows, stride = x.shape
    tables_mask = len(mixer.slots) - 1
    index_mask = len(index_mixer.slots) - 1
    seen_mask = len(seen) - 1
    candidates = np.zeros(CANDIDATES, np.int64)
    hashes = np.zeros(CONTEXTS, np.int64)
    bits = 0
    while (1 << bits) < colours:
        bits += 1
    mixer.inputs[INPUTS - 1] = 256
    index_mixer.inputs[INDEX_CONTEXTS] = 256
    hits = 0
    for y in range(TOP, rows):
        for c in range(SIDE, stride - SIDE):
            w, n, nw, ne = x[y, c - 1], x[y - 1, c], x[y - 1, c - 1], x[y - 1, c + 1]
            ww, nn, nne, nnw = x[y, c - 2], x[y - 2, c], x[y - 2, c + 1], x[y - 2, c - 1]
            nww, nee, www, nnn = x[y - 1, c - 2], x[y - 1, c + 2], x[y, c - 3], x[y - 3, c]
            two = joined(joined(1, w), n)
            four = joined(joined(two, nw), ne)
            six = joined(joined(four, ww), nn)
            twelve = joined(joined(joined(joined(joined(joined(six, nne), nnw), nww), nee), www), nnn)
            far = joined(
                joined(joined(joined(twelve, x[y, c - 4]), x[y - 1, c + 3]), x[y - 1, c - 3]), x[y - 2, c + 2]
            )
            far = joined(joined(joined(far, x[y - 2, c - 2]), x[y - 3, c - 1]), x[y - 3, c + 1])
            pattern = (
                (w == n) + 2 * (n == ne) + 4 * (w == nw) + 8 * (nw == n) + 16 * (ww == w) + 32 * (nn == n)
            )
            hashes[0] = two
            hashes[1] = four
            hashes[2] = six
            hashes[3] = twelve
            hashes[4] = far
            hashes[5] = joined(joined(joined(2, w), ww), www)
            hashes[6] = joined(joined(joined(3, n), nn), ne)
            hashes[7] = joined(
                joined(4, pattern), (nne == ne) + 2 * (nww == nw) + 4 * (nee == ne) + 8 * (www == ww)
            )
            w8, n8 = x[y, c - 8], x[y - 8, c]
            hashes[8] = joined(joined(joined(joined(8, w8), n8), c & 7), y & 7)
            hashes[9] = joined(joined(joined(joined(two, w8), n8), x[y - 8, c - 8]), x[y - 8, c + 8])
            last_place, long_place = six & seen_mask, twelve & seen_mask
            count = 0
            wanted = x[y, c]
            found = np.int64(-1)
            for k in range(6):
                if k == 0:
                    v = seen[long_place] - 1
                    if v < 0:
                        v = seen[last_place] - 1
                elif k == 1:
                    v = w
                elif k == 2:
                    v = n
                elif k == 3:
                    v = ne
                elif k == 4:
                    v = w + n - nw
                else:
                    v = seen[last_place] - 1
                if v < 0 or v >= colours:
                    continue
                new = count < CANDIDATES
                for i in range(count):
                    if candidates[i] == v:
                        new = False
                if not new:
                    continue
                candidates[count] = v
                same = (v == w) + 2 * (v == n) + 4 * (v == nw) + 8 * (v == ne)
                for i in range(CONTEXTS):
                    key = v if i != 7 else same
                    mixer.at[i] = joined(joined(hashes[i], key), count * 16 + i) & tables_mask
                row1 = CANDIDATES * 64 + count * 16 + min(hits, 15)
                row2 = CANDIDATES * 80 + count * 64 + same * 4 + (k == 0) * 2 + (ww == w)
                flag = mixed_bit(
                    io,
                    buffer,
                    mixer,
                    tables,
                    count * 64 + pattern,
                    row1,
                    row2,
                    count,
                    count * 64 + pattern,
                    COUNT_MAX,
                    1 if wanted == v else 0,
                )
                count += 1
                if flag:
                    found = v
                    break
            if found >= 0:
                hits = min(hits + 1, 15) if count == 1 else hits >> 1
            else:
                hits = 0
                if colours == count + 1:  # all but one were refused
                    found = np.int64(0)
                    for v in range(colours):
                        left = True
                        for i in range(count):
                            if candidates[i] == v:
                                left = False
                        if left:
                            found = np.int64(v)
                else:
                    found = np.int64(0)
                    node = np.int64(1)
                    for b in range(bits - 1, -1, -1):
                        index_mixer.at[0] = joined(5, node) & index_mask
                        index_mixer.at[1] = joined(joined(6, node), w) & index_mask
                        index_mixer.at[2] = joined(joined(7, node), n) & index_mask
                        bit = mixed_bit(
                            io,
                            buffer,
                            index_mixer,
                            tables,
                            b,
                            16,
                            17,
                            0,
                            b,
                            INDEX_COUNT,
                            (wanted >> b) & 1,
                        )
                        node = (node << 1) | bit
                    found = node - (np.int64(1) << bits)
                    if found >= colours:
                        found = np.int64(colours - 1)
            x[y, c] = found
            seen[last_place] = found + 1
            seen[long_place] = found + 1
