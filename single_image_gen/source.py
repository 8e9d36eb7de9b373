"""Photographs to RGB arrays: find the files, refuse what is not an image, decode what is."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
import threading
import unicodedata
import warnings
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

MAX_PIXELS = 200_000_000

# Decoders that read pixels and nothing else: no format here runs another program (as EPS does).
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = frozenset(
    [
        *(".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png"),
        *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    ]
)
# What the largest allowed image could fill uncompressed: four channels of 16 bits, and metadata.
BYTES_PER_PIXEL = 8
METADATA_BYTES = 64 * 2**20


class SourceError(Exception):
    """A source that cannot be used; the message names the file and the reason."""


class SourceWarning(UserWarning):
    """A source that can be used, but not wholly as it is."""


@dataclass(frozen=True)
class SourceInfo:
    """What is known of a source without its pixels.

    Attributes:
        class_name: the class (folder) of its images, safe as a file name, unique in its dataset.
        path: where the file was found, absolute.
        width: pixels, after the EXIF orientation is applied.
        height: likewise.
        sha256: of the file's bytes, in hexadecimal.
    """

    class_name: str
    path: str
    width: int
    height: int
    sha256: str

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded RGB array."""
        return self.width * self.height * 3

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Source:
    """A decoded photograph.

    Attributes:
        info: its name, size and digest.
        pixels: (height, width, 3) uint8 array in sRGB; not to be written to.
    """

    info: SourceInfo
    pixels: Pixels

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.info.size


def find_sources(paths: Sequence[str]) -> list[str]:
    """The image files that `paths` name, in order.

    Args:
        paths: files, taken as they are, and folders, searched recursively (links to folders are
            not followed) for files with an image's ending, sorted by relative path.

    Returns:
        Absolute paths.

    Raises:
        SourceError: a path does not exist, or a folder holds no image.
    """
    found: list[str] = []
    for path in paths:
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            raise SourceError(f"{path}: {_reason(error)}") from None
        if stat.S_ISDIR(mode):
            inside = sorted(_images_below(path))
            if not inside:
                raise SourceError(
                    f"{path}: no image in this folder (looked for {' '.join(sorted(SUFFIXES))})"
                )
            found += (os.path.join(path, name) for name in inside)
        else:
            found.append(path)
    return [os.path.abspath(path) for path in found]


def _images_below(folder: str) -> Iterator[str]:
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield os.path.relpath(os.path.join(where, name), folder)


def class_names(paths: Sequence[str]) -> list[str]:
    """A class for each source: its file name without the ending, made safe and unique.

    Letters and digits of any script, `-` and `_` stay; everything else becomes `_`. No name holds a
    dot (a dot ends the key of a WebDataset sample) or exceeds 80 bytes (USTAR allows 100 for
    a member). Names that differ in case alone count as equal: some file systems fold it.
    """
    taken: set[str] = set()
    names = []
    for path in paths:
        base = _safe(os.path.splitext(os.path.basename(path))[0])
        name, n = base, 1
        while name.casefold() in taken:
            n += 1
            name = f"{base}_{n}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _safe(name: str) -> str:
    name = unicodedata.normalize("NFC", name)
    kept = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
    return kept.encode()[:80].decode(errors="ignore") or "_"


def load_sources(
    paths: Sequence[str], *, max_pixels: int = MAX_PIXELS, known: Sequence[SourceInfo] = ()
) -> Iterator[Source]:
    """Decode the files one after another, each with its class name.

    `known` sources, where given, are what the files must hold: see `load_source`.
    """
    if known and len(known) != len(paths):
        raise SourceError(f"{len(paths)} sources, but the dataset is of {len(known)}")
    names = [info.class_name for info in known] or class_names(paths)
    for k, (path, name) in enumerate(zip(paths, names, strict=True)):
        yield load_source(
            path,
            class_name=name,
            max_pixels=max_pixels,
            sha256=known[k].sha256 if known else None,
        )


def load_source(
    path: str,
    *,
    class_name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    sha256: str | None = None,
) -> Source:
    """Read and decode one photograph.

    The EXIF orientation is applied, an ICC profile converted to sRGB, transparency composited on
    white, 16 bits scaled to 8, and the first frame of an animation taken.

    Args:
        path: a regular file in one of `FORMATS`; its ending does not matter.
        class_name: the class of its images; by default made of the file's name.
        max_pixels: a larger image is refused before it is decoded.
        sha256: if given, the digest that the file must have.

    Raises:
        SourceError: it is not a whole image of an allowed format and size, or not that one.
    """
    data = _read(path, max_pixels * BYTES_PER_PIXEL + METADATA_BYTES)
    digest = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, digest):
        raise SourceError(
            f"{path}: the file has changed: its SHA-256 is {digest}, the dataset's is {sha256}"
        )
    pixels = _decode(path, data, max_pixels)
    height, width, _ = pixels.shape
    name = class_name or class_names([path])[0]
    return Source(SourceInfo(name, os.path.abspath(path), width, height, digest), pixels)


def _read(path: str, most: int) -> bytes:
    """The bytes of a regular file; O_NONBLOCK, since opening a FIFO would wait for a writer."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(f"{path}: not a regular file")
            if status.st_size > most:
                raise SourceError(
                    f"{path}: {status.st_size} bytes, more than an image of --max_pixels can need "
                    f"({most})"
                )
            return file.read()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENXIO:
            raise SourceError(f"{path}: not a regular file") from None
        raise SourceError(f"{path}: {_reason(error)}") from None


def _decode(path: str, data: bytes, max_pixels: int) -> Pixels:
    """(height, width, 3) uint8 sRGB pixels of the first frame."""
    if not data:
        raise SourceError(f"{path}: the file is empty")
    try:
        with _pillow_limits(max_pixels), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise SourceError(
                    f"{path}: {width} x {height} is more than --max_pixels {max_pixels}"
                )
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                _warn(f"{path}: {image.n_frames} frames, the first is used")  # type: ignore[attr-defined]
            image.seek(0)
            image.load()
            pixels = _to_srgb(path, _upright(path, image))
    except SourceError:
        raise
    except UnidentifiedImageError:
        raise SourceError(
            f"{path}: not an image in a format that is read here ({', '.join(FORMATS)})"
        ) from None
    except Exception as error:  # noqa: BLE001 - damaged files raise whatever their decoder meets
        raise SourceError(f"{path}: cannot be decoded: {_reason(error)}") from None
    return pixels


@contextlib.contextmanager
def _pillow_limits(max_pixels: int) -> Iterator[None]:
    """Pillow's own guards on: its pixel limit at ours, truncated files refused, no chatter."""
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max_pixels, False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", SourceWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _upright(path: str, image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # noqa: BLE001 - a broken EXIF block raises whatever its parser meets
        _warn(f"{path}: its EXIF block is damaged and is not used ({_reason(error)})")
        return image


def _to_srgb(path: str, image: Image.Image) -> Pixels:
    """Any Pillow mode to (height, width, 3) uint8 in sRGB, on white where transparent."""
    profile = image.info.get("icc_profile")
    image = _to_8_bits(path, image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        colour = _apply_profile(path, image.convert("RGB"), profile)
        white = Image.new("RGB", image.size, (255, 255, 255))
        image = Image.composite(colour, white, alpha)
    else:
        if image.mode not in ("RGB", "L", "CMYK", "LAB"):
            image = image.convert("RGB")
        image = _apply_profile(path, image, profile)
    return np.array(image.convert("RGB"))


def _to_8_bits(path: str, image: Image.Image) -> Image.Image:
    """16-bit gray scaled to 8; `Image.convert` would clip it at 255."""
    # older versions of Pillow read 16-bit gray PNG as mode I
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        values = np.asarray(image).astype(np.float64)
        gray = Image.fromarray(np.rint(values * (255 / 65535)).clip(0, 255).astype(np.uint8))
        key = image.info.get("transparency")
        if isinstance(key, int):
            gray.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
        return gray
    if image.mode in ("I", "F"):
        raise SourceError(
            f"{path}: pixels of 32 bits have no agreed white; save it with 8 or 16 bits"
        )
    return image


def _apply_profile(path: str, image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image in sRGB, where it carries a profile of another colour space."""
    if not profile:
        return image
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(given):
            return image  # exact: a round trip through the same space would move single levels
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, given, srgb, outputMode="RGB")
    except Exception as error:  # noqa: BLE001 - junk profiles raise whatever the parser meets
        _warn(f"{path}: its ICC profile is damaged and is not used ({_reason(error)})")
        return image
    return converted if converted is not None else image


def _warn(message: str) -> None:
    warnings.warn(message, SourceWarning, stacklevel=2)


def _reason(error: BaseException) -> str:
    """The error in words, without the path that the message starts with anyway."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__


class LazySources:
    """Sources decoded when first asked for, the latest kept, within a bound of memory.

    Pickles as names alone, so that it is small to send to workers.

    Args:
        infos: the sources; a file whose digest is no longer the known one raises SourceError.
        max_bytes: how much decoded pixel data is kept at most (one source always is).
        max_pixels: as for `load_source`.
    """

    def __init__(
        self,
        infos: Sequence[SourceInfo],
        *,
        max_bytes: int = 512 * 2**20,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.infos = tuple(infos)
        self.max_bytes = max_bytes
        self.max_pixels = max_pixels
        self._kept: OrderedDict[int, Source] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.infos)

    def __getitem__(self, k: int) -> Source:
        with self._lock:
            if k not in self._kept:
                info = self.infos[k]
                self._make_room(info.nbytes)
                self._kept[k] = load_source(
                    info.path,
                    class_name=info.class_name,
                    max_pixels=self.max_pixels,
                    sha256=info.sha256,
                )
            self._kept.move_to_end(k)
            return self._kept[k]

    def _make_room(self, nbytes: int) -> None:
        kept = sum(source.pixels.nbytes for source in self._kept.values())
        while self._kept and kept + nbytes > self.max_bytes:
            kept -= self._kept.popitem(last=False)[1].pixels.nbytes

    def __getstate__(self) -> dict[str, Any]:
        return {"infos": self.infos, "max_bytes": self.max_bytes, "max_pixels": self.max_pixels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class SharedSources:
    """All sources decoded into one block of memory that the processes of a machine share.

    The block is an anonymous file: workers open it through the creating process's descriptor, and
    the system frees it with the last process that has it, whatever that died of.

    Args:
        infos: the sources.
        file: their pixels one after another, see `open_sources`.
    """

    def __init__(self, infos: Sequence[SourceInfo], file: BinaryIO) -> None:
        self.infos = tuple(infos)
        self._file = file  # keeps it open
        self._path = f"/proc/{os.getpid()}/fd/{file.fileno()}"
        self._map()

    def _map(self) -> None:
        self._pixels: Pixels = np.memmap(self._path, dtype=np.uint8, mode="r")
        ends = np.cumsum([info.nbytes for info in self.infos], dtype=np.int64).tolist()
        self._starts = [0, *ends]

    def __len__(self) -> int:
        return len(self.infos)

    def __getitem__(self, k: int) -> Source:
        info = self.infos[k]
        block = self._pixels[self._starts[k] : self._starts[k + 1]]
        return Source(info, np.asarray(block).reshape(info.height, info.width, 3))

    def __getstate__(self) -> dict[str, Any]:
        return {"infos": self.infos, "_path": self._path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()


def open_sources(
    paths: Sequence[str],
    *,
    max_pixels: int = MAX_PIXELS,
    known: Sequence[SourceInfo] = (),
    share: bool = False,
) -> tuple[LazySources | SharedSources, tuple[SourceInfo, ...]]:
    """Decode every source once, to know that it can be, and keep the pixels where that is wise.

    Args:
        paths: files.
        max_pixels: as for `load_source`.
        known: what the files must hold, as for `load_sources`.
        share: keep the pixels in memory that this machine's processes share, if the system can
            (Linux) and they fill no more than a quarter of it. Otherwise each process decodes what
            it needs.

    Raises:
        SourceError: a source cannot be used.
    """
    infos = []
    size = 0
    file = _anonymous_file() if share else None
    for source in load_sources(paths, max_pixels=max_pixels, known=known):
        infos.append(source.info)
        size += source.pixels.nbytes
        if file is not None and size > _memory_bytes() // 4:
            file.close()
            file = None
        if file is not None:
            file.write(source.pixels.data)
    if file is None:
        return LazySources(infos, max_pixels=max_pixels), tuple(infos)
    file.flush()
    return SharedSources(infos, file), tuple(infos)


def _anonymous_file() -> BinaryIO | None:
    """A file in memory without a name that other processes can open; None where there is none."""
    if not hasattr(os, "memfd_create") or not os.path.exists("/proc/self/fd"):
        return None
    return open(os.memfd_create("single-image-gen"), "r+b", buffering=2**20)


def _memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
