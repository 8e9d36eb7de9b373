"""Shaded, textured shapes on a sheet: the brushes of the sample pictures."""

from __future__ import annotations

import colorsys
import math

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Rng = np.random.Generator
Array = np.ndarray

LIGHT = np.array([-0.42, -0.66, 0.62], np.float32)  # towards the light; y points down
PIGMENTS = (
    (0.0, 0.85, 0.8),
    (0.98, 0.8, 0.6),
    (0.03, 0.85, 0.92),
    (0.07, 0.85, 0.96),
    (0.11, 0.8, 0.92),
    (0.14, 0.75, 0.96),
    (0.18, 0.65, 0.7),
    (0.27, 0.6, 0.62),
    (0.36, 0.65, 0.5),
    (0.45, 0.6, 0.6),
    (0.5, 0.7, 0.62),
    (0.54, 0.6, 0.85),
    (0.58, 0.75, 0.8),
    (0.62, 0.75, 0.6),
    (0.64, 0.65, 0.35),
    (0.72, 0.5, 0.6),
    (0.8, 0.5, 0.5),
    (0.9, 0.65, 0.75),
    (0.94, 0.4, 0.95),
    (0.1, 0.15, 0.95),
    (0.07, 0.6, 0.45),
    (0.6, 0.15, 0.3),
)  # hue, saturation, value


def hsv(hue: float, sat: float, val: float) -> Array:
    """An RGB color, 0 to 1, from hue (any real number, one turn = 1), saturation and value."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, min(sat, 1.0), min(val, 1.0)), np.float32)


def vivid(rng: Rng) -> Array:
    """A random lively color: a pigment, jittered, rather than any point of the color wheel."""
    hue, sat, val = PIGMENTS[rng.integers(len(PIGMENTS))]
    return hsv(hue + rng.normal(0, 0.012), sat + rng.normal(0, 0.06), val + rng.normal(0, 0.06))


def noise(rng: Rng, px: tuple[int, int], cell: float, octaves: int = 4, tall: float = 1.0) -> Array:
    """Fractal value noise, about 0 to 1; blobs of `cell` pixels, `tall` times taller than wide."""
    h, w = px
    out, amp, total = np.zeros(px, np.float32), 1.0, 0.0
    for _ in range(octaves):
        gh, gw = int(h / (cell * tall)) + 4, int(w / cell) + 4
        big = (int(gw * cell) + 1, int(gh * cell * tall) + 1)
        if cell >= 1.5 and big[0] * big[1] < 4 * h * w + 10000:
            grid = cv2.resize(rng.random((gh, gw), np.float32), big, interpolation=cv2.INTER_CUBIC)
        else:  # cells much larger than the picture, or smaller than a pixel
            grid = cv2.resize(
                rng.random((min(gh, h + 4), min(gw, w + 4)), np.float32),
                (w, h),
                interpolation=cv2.INTER_CUBIC,
            )
        y, x = max(0, grid.shape[0] - h) // 2, max(0, grid.shape[1] - w) // 2
        out += amp * grid[y : y + h, x : x + w]
        total, amp, cell = total + amp, amp * 0.55, cell / 2
        if cell < 0.7:
            break
    return out / total


def relief(height: Array, gloss: float = 0.0) -> tuple[Array, Array]:
    """Light falling on a height map (pixels): a factor (1 where flat) and an added highlight."""
    gx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    gy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    inv = 1.0 / np.sqrt(1.0 + gx * gx + gy * gy)
    lam = (LIGHT[2] - gx * LIGHT[0] - gy * LIGHT[1]) * inv
    shade = 0.42 + 0.58 * np.clip(lam, 0, 1) / LIGHT[2]
    if gloss <= 0:
        return shade, np.zeros_like(shade)
    half = (LIGHT + (0, 0, 1)) / np.linalg.norm(LIGHT + (0, 0, 1))
    spec = np.clip((half[2] - gx * half[0] - gy * half[1]) * inv, 0, 1) ** 40
    return shade, (gloss * spec).astype(np.float32)


def masonry(
    rng: Rng,
    px: tuple[int, int],
    ppm: float,
    unit: tuple[float, float],
    color: Array,
    gap: float = 0.012,
    stagger: float = 0.5,
    vary: float = 0.13,
) -> Array:
    """Bricks, tiles, planks or paving stones: units of `unit` metres, `ppm` pixels per metre."""
    y, x = (g.astype(np.float32) / ppm for g in np.mgrid[0 : px[0], 0 : px[1]])
    row = np.floor(y / unit[1])
    x = x + stagger * unit[0] * (row % 2)
    col = np.floor(x / unit[0])
    fx, fy = x - col * unit[0], y - row * unit[1]
    edge = np.minimum(np.minimum(fx, unit[0] - fx), np.minimum(fy, unit[1] - fy))
    body = np.clip((edge - gap / 2) * ppm + 0.5, 0, 1)
    table = rng.normal(0, 1, (101, 3)).astype(np.float32)
    tone = table[((row * 31 + col * 17) % 101).astype(np.int32)]
    ratio = unit[1] / unit[0]  # long planks have their grain along them
    tall = float(np.clip(ratio, 0.15, 8)) if not 0.2 < ratio < 2 else 1.0
    rough = noise(rng, px, 0.12 * ppm, 5, tall)
    face = color * (1 + vary * tone[..., :1] + 0.5 * (rough[..., None] - 0.5)) + 0.02 * tone
    rgb = face * body[..., None] + (0.5 * color + 0.16) * (1 - body[..., None])
    height = (np.clip(edge / (1.5 * gap), 0, 1) * gap * 0.7 + 0.013 * rough) * ppm
    return np.clip(rgb * relief(height.astype(np.float32))[0][..., None], 0, 1)


def cloth(rng: Rng, px: tuple[int, int], ppm: float) -> Array:
    """Patterned fabric: stripes, checks, dots, flowers or a plain weave."""
    y, x = (g.astype(np.float32) / ppm for g in np.mgrid[0 : px[0], 0 : px[1]])
    one, two = vivid(rng), hsv(rng.random(), rng.uniform(0, 0.7), rng.choice([0.2, 0.95, 0.9]))
    kind, size = rng.integers(7), rng.uniform(0.03, 0.09)
    soft = max(0.5 / (ppm * size), 0.04)

    def wave(t: Array) -> Array:
        return np.clip(0.5 + np.sin(2 * np.pi * t / size) / (8 * soft), 0, 1)

    if kind == 0:
        mix = wave(y)
    elif kind == 1:
        mix = wave(x)
    elif kind == 2:
        mix = 0.5 * wave(x) + 0.5 * wave(y)
    elif kind == 3:
        r = (
            np.hypot(
                (x + 0.5 * size * (np.floor(y / size) % 2)) % size - size / 2, y % size - size / 2
            )
            / size
        )
        mix = np.clip((0.3 - r) / soft + 0.5, 0, 1)
    elif kind == 4:
        mix = np.clip((noise(rng, px, size * ppm, 2) - 0.52) * 14, 0, 1)
    else:
        one = one if rng.random() < 0.5 else hsv(rng.random(), 0.15, rng.choice([0.15, 0.3, 0.9]))
        mix = np.zeros(px, np.float32)
    rgb = one * (1 - mix[..., None]) + two * mix[..., None]
    return np.clip(rgb * (0.86 + 0.28 * noise(rng, px, 0.012 * ppm, 2)[..., None]), 0, 1)


def curve(points: list, rounds: int = 3, *, closed: bool = False) -> Array:
    """A smooth line through the neighborhood of the points (corner cutting)."""
    p = np.asarray(points, np.float32)
    for _ in range(rounds):
        q = np.roll(p, -1, 0) if closed else p[1:]
        a = p if closed else p[:-1]
        cut = np.stack([0.75 * a + 0.25 * q, 0.25 * a + 0.75 * q], 1).reshape(-1, p.shape[1])
        p = cut if closed else np.concatenate([p[:1], cut, p[-1:]])
    return p


class Sheet:
    """A picture with alpha, measured in metres: x from the middle, y up from the bottom edge."""

    def __init__(self, w: float, h: float, ppm: float) -> None:
        self.w, self.h, self.ppm = w, h, ppm
        self.px = (max(4, round(h * ppm)), max(4, round(w * ppm)))
        self.rgb = np.zeros((*self.px, 3), np.float32)
        self.a = np.zeros(self.px, np.float32)
        self.outline = self.lean = 0.0
        self.clip: Array | None = None
        self.rng = np.random.default_rng(int(1000 * (w + 7 * h + ppm)))

    def cover(self, rgb: Array) -> None:
        """Fill the sheet."""
        self.rgb[:], self.a[:] = rgb, 1.0

    def lay(
        self,
        polys: list[Array],
        color: Array,
        puff: float = 0.0,
        gloss: float = 0.0,
        drop: float = 0.0,
        bump: float = 0.0,
        alpha: float = 1.0,
    ) -> None:
        """Lay the union of polygons (metres) on the sheet as one body lit from the upper left.

        color: one color, two (top and bottom), or a whole picture of the sheet's size.
        puff: how far from its rim the body bulges; drop: reach of the soft shadow below it; bump:
        depth of creases; all in metres.
        """
        px = [
            np.stack([p[:, 0] + self.lean * p[:, 1] + self.w / 2, self.h - p[:, 1]], 1) * self.ppm
            for p in polys
        ]
        every, reach = np.concatenate(px), int(2 * drop * self.ppm) + 3
        x0, y0 = np.maximum(np.floor(every.min(0)).astype(int) - reach, 0)
        x1, y1 = np.minimum(np.ceil(every.max(0)).astype(int) + reach, self.px[::-1])
        if x1 - x0 < 1 or y1 - y0 < 1:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        for p in px:
            cv2.fillPoly(
                mask, [np.round((p - (x0, y0) - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4
            )
        m = mask.astype(np.float32) / 255
        if self.clip is not None:
            m = m * self.clip[y0:y1, x0:x1]
        rgb, a = self.rgb[y0:y1, x0:x1], self.a[y0:y1, x0:x1]
        if drop > 0 and drop * self.ppm > 0.4:
            d = drop * self.ppm
            dark = cv2.GaussianBlur(m, (0, 0), 0.6 * d)
            dark = cv2.warpAffine(
                dark, np.float32([[1, 0, 0.35 * d], [0, 1, 0.6 * d]]), dark.shape[::-1]
            )
            rgb *= 1 - 0.62 * dark[..., None]
        color = np.asarray(color, np.float32)
        if color.ndim == 2:
            t = np.linspace(0, 1, y1 - y0, dtype=np.float32)[:, None, None]
            color = color[0] * (1 - t) + color[1] * t
        elif color.ndim == 3:
            color = color[y0:y1, x0:x1]
        r = float(puff * self.ppm)
        if r > 0.8 or bump * self.ppm > 0.3:
            height = np.zeros_like(m)
            if r > 0.8:
                far = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 5)
                t = np.minimum(far, r) / r
                height = cv2.GaussianBlur(r * np.sqrt(t * (2 - t)), (0, 0), 0.5 + 0.12 * r)
                height *= 0.6 if bump else 1.0  # cloth is flatter than a ball
            if bump > 0:
                crease = noise(self.rng, m.shape, max(2, 11 * bump * self.ppm), 2, 2.0)
                height += (1 - np.abs(4 * crease - 2)) * (0.75 * bump * self.ppm)
            if color.shape[:2] == m.shape:  # the pattern follows the body
                rows, cols = (g.astype(np.float32) for g in np.indices(m.shape))
                bend = cv2.GaussianBlur(height, (0, 0), 1 + 0.2 * r)
                cols -= 0.4 * r * cv2.Sobel(bend, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
                rows -= 0.25 * r * cv2.Sobel(bend, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
                color = cv2.remap(
                    color, cols, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
                )
            shade, shine = relief(height, gloss)
            color = color * shade[..., None] + shine[..., None]
        if self.outline and puff:
            edge = m - cv2.erode(m, np.ones((3, 3), np.uint8), iterations=round(self.outline))
            color = color * (1 - 0.85 * cv2.GaussianBlur(edge, (0, 0), 0.8)[..., None])
        m = (m * alpha)[..., None]
        rgb *= 1 - m
        rgb += m * color
        a += (1 - a) * m[..., 0]

    def within(self, points: list | None, smooth: int = 2) -> None:
        """Confine what follows to a polygon; None: to nothing."""
        self.clip = None
        if points is not None:
            mask = np.zeros(self.px, np.uint8)
            p = (curve(points, smooth, closed=True) * (1, -1) + (self.w / 2, self.h)) * self.ppm
            cv2.fillPoly(mask, [np.round(p).astype(np.int32)], 255)
            self.clip = mask.astype(np.float32) / 255

    def poly(self, points: list, color: Array, smooth: int = 0, **look: float) -> None:
        """A polygon, its corners cut `smooth` times."""
        self.lay([curve(points, smooth, closed=True)], color, **look)

    def box(self, x: float, y: float, w: float, h: float, color: Array, **look: float) -> None:
        """A rectangle from its lower left corner."""
        self.lay([np.float32([(x, y), (x + w, y), (x + w, y + h), (x, y + h)])], color, **look)

    def oval(
        self,
        x: float,
        y: float,
        rx: float,
        ry: float,
        color: Array,
        turn: float = 0.0,
        **look: float,
    ) -> None:
        """An ellipse."""
        t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        u, v, c, s = rx * np.cos(t), ry * np.sin(t), math.cos(turn), math.sin(turn)
        self.lay([np.stack([x + u * c - v * s, y + u * s + v * c], 1)], color, **look)

    def line(
        self,
        points: list,
        radius: float | list[float],
        color: Array,
        rounds: int = 2,
        **look: float,
    ) -> None:
        """A smooth stroke with a radius, or one radius for each point."""
        r = np.broadcast_to(np.asarray(radius, np.float32), (len(points),))
        p = curve(np.column_stack([np.asarray(points, np.float32), r]).tolist(), rounds)
        t = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        ring = np.stack([np.cos(t), np.sin(t)], 1)
        dots = [q[:2] + q[2] * ring for q in p]
        hulls = [
            cv2.convexHull(np.concatenate(ab).astype(np.float32))[:, 0]
            for ab in zip(dots[:-1], dots[1:], strict=True)
        ]
        self.lay(hulls, color, **look)

    def word(self, text: str, x: float, y: float, w: float, h: float, color: Array) -> None:
        """Latin lettering stretched into a box."""
        font = ImageFont.load_default(size=96)
        left, top, right, bottom = font.getbbox(text)
        image = Image.new("L", (right - left + 4, bottom - top + 4))
        ImageDraw.Draw(image).text((2 - left, 2 - top), text, 255, font)
        pw, ph = max(2, round(w * self.ppm)), max(2, round(h * self.ppm))
        m = cv2.resize(np.asarray(image, np.float32) / 255, (pw, ph), interpolation=cv2.INTER_AREA)
        x0, y0 = round((x + self.w / 2) * self.ppm), round((self.h - y - h) * self.ppm)
        ys, xs = slice(max(y0, 0), y0 + ph), slice(max(x0, 0), x0 + pw)
        m = m[ys.start - y0 :, xs.start - x0 :][
            : self.px[0] - ys.start, : self.px[1] - xs.start, None
        ]
        self.rgb[ys, xs] = self.rgb[ys, xs] * (1 - m) + m * color

    def glyph(self, rng: Rng, x: float, y: float, size: float, color: Array) -> None:
        """An invented brush-written character: bars, posts, sweeping feet, perhaps two halves."""
        parts = [(0.0, 1.0)] if rng.random() < 0.5 else [(0.0, 0.44), (0.42, 0.58)]
        for left, wide in parts:

            def at(u: float, v: float, left: float = left, wide: float = wide) -> tuple:
                return x + (left + u * wide) * size, y + v * size

            strokes = []
            for v in sorted(
                rng.choice([0.95, 0.78, 0.6, 0.42, 0.24, 0.06], rng.integers(2, 5), replace=False)
            ):
                u = rng.uniform(0.0, 0.25)
                strokes.append([at(u, v - 0.02), at(0.5, v), at(1 - u, v + 0.03)])
            strokes += [
                [at(u, rng.uniform(0.75, 1)), at(u, 0.5), at(u, rng.uniform(0, 0.4))]
                for u in rng.permutation([0.18, 0.5, 0.82])[: rng.integers(1, 4)]
            ]
            if rng.random() < 0.6:
                strokes.append([at(0.5, 0.55), at(0.35, 0.25), at(0.0, 0.0)])
                strokes.append([at(0.5, 0.5), at(0.7, 0.2), at(1.0, 0.0)])
            for stroke in strokes:
                r = size * rng.uniform(0.035, 0.055)
                self.line(stroke, [r * 1.2, r * 0.75, r * rng.choice([0.3, 0.8, 1.2])], color, 1)
