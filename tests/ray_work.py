"""Work for Ray's workers, which must be able to import it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from mutscan.cluster import Crew, connect
from mutscan.errors import BuildError, MutscanError


def fatal() -> Callable[[int], None]:
    return lambda unit: os._exit(1) if unit == 2 else None


def faulty() -> Callable[[int], None]:
    def work(unit: int) -> None:
        if unit == 2:
            raise BuildError("unit 2 cannot be built")

    return work


if __name__ == "__main__":
    # Workers find the functions by their module, which is not called __main__ there.
    from tests import ray_work

    try:
        with connect(None, cores=1) as cluster:
            crew = Crew(cluster, getattr(ray_work, sys.argv[1]), Path(sys.argv[2]))
            for unit in crew.run(range(4), lambda unit: f"unit {unit}"):
                print("done", unit, file=sys.stderr)
    except MutscanError as error:
        print(type(error).__name__, error.code, error.message)
