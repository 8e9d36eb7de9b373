"""Who does the work: processes, threads, clusters; and which share of it."""

from __future__ import annotations

from dataclasses import dataclass

from single_image_gen.errors import UsageError
from single_image_gen.workers.shard import WHOLE, Shard

BACKENDS = ("loky", "threading", "dask", "ray")
MAX_THREADS = 4096


@dataclass(frozen=True)
class Workers:
    """Who does the work; nothing here changes an image.

    Attributes:
        threads: workers, 1 to 4096; None for all usable CPUs, or all of an existing cluster's.
        backend: "loky" (processes), "threading", "dask" or "ray".
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
        """Check every value."""
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise UsageError(f"threads must be 1 to {MAX_THREADS}, got {self.threads}")
        if self.backend not in BACKENDS:
            raise UsageError(f"backend must be one of {', '.join(BACKENDS)}, got {self.backend!r}")
        if self.scheduler and self.backend not in ("dask", "ray"):
            raise UsageError(f"scheduler needs backend dask or ray, got {self.backend}")
