"""Color jitter for the fast engine: PIL's operations, each one pass or a few over 8-bit pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from single_image_gen.photo.source import Pixels

# The four operations are those of PIL's ImageEnhance, which torchvision calls: a blend of the
# image and a degenerate one, cut off to whole numbers. OpenCV rounds; this much less, it cuts off.
# Not a whole half: a factor of 1 has to leave the image as it is.
CUT_OFF = -0.499


def _brightness(pixels: Pixels, factor: float) -> Pixels:
    return cv2.convertScaleAbs(pixels, alpha=factor, beta=CUT_OFF)  # below 0 only to |CUT_OFF|


def _contrast(pixels: Pixels, factor: float) -> Pixels:
    mean = round(cv2.mean(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[0])
    return cv2.addWeighted(pixels, factor, pixels, 0, (1 - factor) * mean + CUT_OFF)


# of ITU-R 601-2, as in PIL's convert("L")
LUMA = np.array([[0.299, 0.587, 0.114]])


def _saturation(pixels: Pixels, factor: float) -> Pixels:
    """Blend with the luma, factor * pixel + (1 - factor) * luma, as one 3 x 3 matrix."""
    matrix = np.empty((3, 4), np.float32)
    matrix[:, :3] = factor * np.eye(3) + (1 - factor) * LUMA
    matrix[:, 3] = CUT_OFF  # a column of offsets
    return cv2.transform(pixels, matrix)


# PIL keeps hue and saturation in 8 bits, 255 being the whole circle, cut off to whole numbers. A
# step of that hue is up to six levels of a color: it has to be reproduced. OpenCV's own 8-bit HSV
# has 256 for the circle and rounds, which is 36 dB in the worst case; in floats it can be exact.
TO_PIL = np.diag(np.array([255 / 360, 255, 1], np.float32))
FROM_PIL = np.diag(np.array([360 / 255, 1 / 255, 1], np.float32))


def _hue(pixels: Pixels, shift: float) -> Pixels:
    """Turn the color circle by `shift`, of which torchvision takes whole steps of 1/255."""
    hsv = cv2.cvtColor(pixels.astype(np.float32), cv2.COLOR_RGB2HSV)
    steps = cv2.transform(hsv, TO_PIL).astype(np.uint8)
    steps[..., 0] += np.uint8(int(shift * 255) % 256)  # wraps at 256, as torchvision's does
    hsv = cv2.transform(steps.astype(np.float32), FROM_PIL)
    return cv2.convertScaleAbs(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


ADJUST = {
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
}
