"""Write the golden files of a released version: .tsr files, the SHA-256 of the integers they decode to, and
the decoded samples (`tersor/testing/golden.py` says what of).

    python tools/make_golden.py tests/golden/v0.2                       every family
    python tools/make_golden.py tests/golden/v0.2 --only fields audio   these
    python tools/make_golden.py tests/golden/v0.2 --only image --cases NAME ...   some of a family's cases

Golden files are never changed or deleted, and those that are there are left alone: every later version must
decode them to the same integers, and to samples within one level.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

from tersor.testing.golden import FAMILIES


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--only", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    p.add_argument("--cases", nargs="+")
    a = p.parse_args()
    for name in a.only:
        family = FAMILIES[name]
        if a.cases:
            some = {case: family.cases()[case] for case in a.cases}
            family = replace(family, cases=partial(dict, some))
        print(f"{name}: {family.write(a.folder)} files in {a.folder / family.folder}")


if __name__ == "__main__":
    main()
