"""The tasks of a run: a batch of images, and the contact sheet.

Kept separate so that worker processes import little and start quickly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from single_image_gen.dataset.sample import contrasts_of, make_samples, render_pixels
from single_image_gen.dataset.spec import draw_range
from single_image_gen.make.contact_sheet import COUNT, contact_sheet
from single_image_gen.target.files import Target
from single_image_gen.target.layout import PREVIEW
from single_image_gen.target.writers import WRITERS

if TYPE_CHECKING:
    from single_image_gen.target.journal import BatchRecord
    from single_image_gen.workers.task import Work


def make_batch(work: Work, batch: range) -> BatchRecord:
    """Make the images of a batch; its record, which is not in the journal yet."""
    with Target(work.targetpath) as target:
        with WRITERS[work.spec.format](target, work.spec, batch) as writer:
            for sample in make_samples(work.spec, work.sources, work.load_engine(), batch):
                writer.write(sample)
                work.report(1)
        if work.sync_batches:
            target.sync()
    return writer.record


def make_preview(work: Work) -> None:
    """Make preview.png."""
    spec, render = work.spec, work.load_engine()
    drawn = draw_range(
        spec, range(min(COUNT, spec.num_imgs)), contrasts_of(work.sources, spec.recipe)
    )
    images = [render_pixels(spec, work.sources, render, index, params) for index, params in drawn]
    with Target(work.targetpath) as target:
        target.place(contact_sheet(images), PREVIEW, flush=True)
