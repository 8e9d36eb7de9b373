"""What a run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from single_image_gen.dataset.spec import MAX_MAX_PIXELS
from single_image_gen.errors import check_range
from single_image_gen.recipe import MAX_PIXELS
from single_image_gen.target.lifecycle import join_dataset
from single_image_gen.target.metadata import DatasetMetadata
from single_image_gen.target.versions import current_versions
from single_image_gen.workers import Workers

if TYPE_CHECKING:
    from single_image_gen.dataset.sample import Sources
    from single_image_gen.dataset.spec import DatasetSpec
    from single_image_gen.target.files import Target
    from single_image_gen.target.lifecycle import TargetContents


@dataclass(frozen=True)
class RunOptions:
    """How a run behaves; nothing here changes an image.

    Attributes:
        overwrite: remove an earlier dataset at the target first.
        accept_versions: resume although library versions differ from the target's.
        durable: flush each batch to disk at once, rather than in groups every few seconds.
        max_pixels: refuse a larger source, pixels.
        dry_run: write nothing; the summary's `forecast` says what a run would do.
        quiet: show no progress on stderr.
        command: the command line, recorded in dataset.json.
    """

    overwrite: bool = False
    accept_versions: bool = False
    durable: bool = False
    max_pixels: int = MAX_PIXELS
    dry_run: bool = False
    quiet: bool = True
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check `max_pixels`."""
        max_pixels = check_range("max_pixels", self.max_pixels, 1, MAX_MAX_PIXELS)
        object.__setattr__(self, "max_pixels", max_pixels)


@dataclass(frozen=True, eq=False)
class Run:
    """A run whose arguments have been checked.

    Attributes:
        spec: what is to be made.
        targetpath: where; it need not exist.
        sources: the decoded sources.
        workers: who does the work.
        options: how the run behaves.
        keep_batch_size: existing tars keep their size.
    """

    spec: DatasetSpec
    targetpath: str
    sources: Sources
    workers: Workers = Workers()
    options: RunOptions = RunOptions()
    keep_batch_size: bool = True

    @property
    def versions(self) -> dict[str, str]:
        """The installed versions."""
        return current_versions(self.spec.engine)

    def new_metadata(self) -> DatasetMetadata:
        """The dataset.json of a new target, with a new id."""
        return DatasetMetadata(self.spec, self.versions, self.options.command)

    def join(self, target: Target, contents: TargetContents) -> DatasetMetadata:
        """What dataset.json is to say once the run works in the target, see `join_dataset`."""
        return join_dataset(
            target,
            contents,
            self.new_metadata(),
            keep_batch_size=self.keep_batch_size,
            accept_versions=self.options.accept_versions,
        )
