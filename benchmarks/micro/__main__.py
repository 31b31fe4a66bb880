"""Print micro figures; the whole run is benchmarks.run."""

import sys

from benchmarks.micro import PARTS, take

if unknown := set(sys.argv[1:]) - set(PARTS):
    sys.exit(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
for name, figure in take(sys.argv[1:]).items():
    sizes = "".join(f"  {size}: {cost:,.2f}" for size, cost in figure.by_size.items())
    print(f"{name}: {figure.value:,.2f} {figure.unit} = {figure.ratio:.2f} x {figure.against}{sizes}")
