"""Who does the work: processes, threads or a cluster; and which shard of it."""

from __future__ import annotations

from dataclasses import dataclass

from single_image_gen.errors import UsageError, check_range
from single_image_gen.workers.shard import WHOLE, Shard

CLUSTERS = ("dask", "ray")
BACKENDS = ("loky", "threading", *CLUSTERS)
MAX_THREADS = 4096


@dataclass(frozen=True)
class Workers:
    """Who does the work; nothing here changes an image.

    Attributes:
        threads: number of workers, 1 to 4096; None for all usable CPUs, or for all workers of an
            existing cluster.
        backend: "loky" (processes, but threads for fewer than `pool.FEW_IMAGES` images),
            "threading", "dask" or "ray".
        scheduler: address of an existing Dask scheduler or Ray head.
        shard: this process's share of the batches.

    Raises:
        UsageError: a value is out of range.
    """

    threads: int | None = None
    backend: str = BACKENDS[0]
    scheduler: str | None = None
    shard: Shard = WHOLE

    def __post_init__(self) -> None:
        """Check every value; a NumPy integer becomes an int."""
        if self.threads is not None:
            threads = check_range("threads", self.threads, 1, MAX_THREADS)
            object.__setattr__(self, "threads", threads)
        if self.backend not in BACKENDS:
            raise UsageError(f"backend must be one of {', '.join(BACKENDS)}, got {self.backend!r}")
        if self.scheduler and self.backend not in CLUSTERS:
            raise UsageError(f"scheduler needs backend dask or ray, got {self.backend}")
