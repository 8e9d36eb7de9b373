"""The market street: its camera, and the things that stand and hang in it."""

from __future__ import annotations

import math

import cv2
import numpy as np
from painting import Array, Rng, Sheet, cloth, hsv, masonry, noise, vivid

SS = 1.5  # the market is drawn this many times larger and then averaged down
FOCAL, CENTRE, HORIZON, EYE = 1500.0, 1290.0, 1060.0, 1.62  # camera: pixels, and metres for EYE
HAZE = np.array([1.0, 0.88, 0.72], np.float32)  # low sun at the end of the street
WORDS = (
    "FISH",
    "TEA",
    "NOODLES",
    "SPICE",
    "OPEN",
    "FRUIT",
    "SILK",
    "SALE",
    "RAMEN",
    "HERBS",
    "CAFE",
    "RICE",
    "BOOKS",
    "SHOES",
    "HOTEL",
    "TOYS",
    "BATH",
    "GRILL",
    "KEYS",
    "RADIO",
)
PRODUCE = np.float64([4, 4, 3, 4, 2, 4, 3, 7, 7, 3, 2, 3, 3, 2]) / 51  # shares of kinds 0 to 13


class Street:
    """Sheets placed in space; x to the right, y up from the ground, z away from the camera."""

    def __init__(self) -> None:
        self.items: list[tuple[float, Array, Array, Array, float]] = []

    @staticmethod
    def project(points: Array) -> Array:
        """Metres to picture coordinates."""
        p = np.asarray(points, np.float32).reshape(-1, 3)
        z = np.maximum(p[:, 2], 0.3)
        return np.stack([CENTRE + FOCAL * p[:, 0] / z, HORIZON - FOCAL * (p[:, 1] - EYE) / z], 1)

    def put(
        self,
        sheet: Sheet,
        corners: list,
        tint: Array | float = 1.0,
        shadow: float = 0.0,
        nearer: float = 0.0,
    ) -> None:
        """Hang a sheet by its corners: top left, top right, bottom right, bottom left."""
        c = np.float32(corners)
        uv = self.project(c) * SS
        side = np.linalg.norm(uv - np.roll(uv, -1, 0), axis=1)
        want = (max(side[0], side[2]), max(side[1], side[3]))
        image = np.dstack([sheet.rgb * tint, sheet.a])
        size = [
            int(min(have, max(3, 1.25 * w))) for have, w in zip(sheet.px[::-1], want, strict=True)
        ]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        depth = float(c[:, 2].mean())
        fog = 1 - math.exp(-max(0.0, depth - 4) / 62)
        image[..., :3] = image[..., :3] * (1 - fog) + HAZE * fog * image[..., 3:]
        image = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
        mirrored = self.project(c * (1, -1, 1)) * SS
        self.items.append((depth - nearer, image, uv, mirrored, shadow * FOCAL * SS / depth))

    def stand(
        self,
        sheet: Sheet,
        x: float,
        y: float,
        z: float,
        tint: Array | float = 1.0,
        shadow: float = 0.0,
        nearer: float = 0.0,
        *,
        flip: bool = False,
    ) -> None:
        """A sheet facing the camera, its bottom edge at height y, its middle at x."""
        a, b = (x + sheet.w / 2, x - sheet.w / 2) if flip else (x - sheet.w / 2, x + sheet.w / 2)
        top = y + sheet.h
        self.put(sheet, [(a, top, z), (b, top, z), (b, y, z), (a, y, z)], tint, shadow, nearer)

    def lamp(self, x: float, y: float, z: float, size: float, color: Array) -> None:
        """A glow: color without alpha only adds to what is behind it."""
        s = Sheet(6 * size, 6 * size, 12 / size)
        v, u = (
            g / (s.px[0] - 1) * 6 - 3 for g in np.mgrid[0 : s.px[0], 0 : s.px[1]].astype(np.float32)
        )
        s.rgb[:] = np.maximum(np.exp(-u * u - v * v) - 0.001, 0)[..., None] * color
        self.stand(s, x, y - s.h / 2, z)

    def draw(self, canvas: Array, scale: float = 1.0, *, flip: bool = False) -> None:
        """Draw everything on the canvas; flip: as a mirror lying on the ground would show it."""
        for _, image, uv, mirrored, reach in sorted(self.items, key=lambda item: -item[0]):
            blend(canvas, image, (mirrored if flip else uv) * scale, 0.0 if flip else reach)


def blend(canvas: Array, image: Array, uv: Array, reach: float) -> None:
    """Warp a premultiplied picture to four points of the canvas, its soft shadow first."""
    h, w = canvas.shape[:2]
    pad = int(2.5 * reach) + 2
    x0, y0 = np.clip(np.floor(uv.min(0)).astype(int) - pad, 0, (w, h))
    x1, y1 = np.clip(np.ceil(uv.max(0)).astype(int) + pad, 0, (w, h))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    ih, iw = image.shape[:2]
    source = np.float32([(-0.5, -0.5), (iw - 0.5, -0.5), (iw - 0.5, ih - 0.5), (-0.5, ih - 0.5)])
    matrix = cv2.getPerspectiveTransform(source, np.float32(uv - (x0, y0) - 0.5))
    warped = cv2.warpPerspective(
        image, matrix, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR
    )
    part = canvas[y0:y1, x0:x1]
    if reach > 1:
        step = max(1, int(reach / 5))
        small = cv2.resize(
            warped[..., 3], None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA
        )
        small = cv2.GaussianBlur(small.astype(np.float32), (0, 0), 0.6 * reach / step)
        shift = np.float32([[1, 0, 0.3 * reach / step], [0, 1, 0.5 * reach / step]])
        small = cv2.warpAffine(small, shift, small.shape[::-1])
        dark = cv2.resize(small, (int(x1 - x0), int(y1 - y0)))
        part *= (1 - dark * (0.5 / 255))[..., None]
    part *= 1 - warped[..., 3:].astype(np.float32) / 255
    part += warped[..., :3].astype(np.float32) / 255


def board(rng: Rng, w: float, h: float, ppm: float) -> Sheet:
    """A signboard: frame, ground color, emblem, invented characters or a word, small print."""
    s = Sheet(w, h, ppm)
    ground = hsv(
        rng.choice([0.0, 0.02, 0.1, 0.14, 0.35, 0.47, 0.55, 0.62, 0.9, rng.random()]),
        rng.uniform(0.55, 0.9),
        rng.uniform(0.4, 0.9),
    )
    ink = np.float32([0.97, 0.95, 0.9])
    if rng.random() < 0.4:
        ground, ink = hsv(0.11, rng.uniform(0.02, 0.25), 0.95), ground * 0.8
    elif ground.mean() > 0.62:
        ink = hsv(rng.choice([0, 0.6, 0.8]), 0.8, 0.3)
    m = 0.05 * min(w, h)
    s.box(-w / 2, 0, w, h, hsv(rng.random(), 0.4, 0.5), puff=m, gloss=0.4)
    s.box(-w / 2 + m, m, w - 2 * m, h - 2 * m, np.stack([ground * 1.1, ground * 0.8]))
    size, low, top = 0.74 * min(w, h), m, h - m
    if h > w and rng.random() < 0.5:  # emblem at the top
        top -= 0.95 * w
        s.oval(0, top + 0.48 * w, 0.4 * w, 0.4 * w, vivid(rng), puff=0.03, gloss=0.3)
        s.oval(0, top + 0.48 * w, 0.32 * w, 0.32 * w, hsv(0.1, 0.2, 0.97))
        fruit(s, rng, int(rng.integers(14)), 0, top + 0.48 * w, 0.14 * w)
    if h > w and rng.random() < 0.6:  # small print at the foot
        low += 0.55 * w
        s.box(-w / 2 + m, m, w - 2 * m, 0.55 * w, ink)
        for i in range(3):
            text = str(rng.choice(WORDS)) if i % 2 else str(rng.integers(100, 999)) + "-88"
            s.word(text, -0.38 * w, m + (0.38 - 0.16 * i) * w, 0.76 * w, 0.11 * w, ground * 0.7)
    if w > 2 * h and rng.random() < 0.5:
        s.box(-w / 2 + m, 0.78 * h, w - 2 * m, 0.06 * h, ink)
        s.word(rng.choice(WORDS), -0.42 * w, 0.2 * h, 0.84 * w, 0.46 * h, ink)
    else:
        run = top - low if h > w else w
        n = max(1, int(run / (1.2 * size)))
        for i in range(n):
            t = (i + 0.5) / n
            x, y = (0.0, top - run * t) if h > w else ((t - 0.5) * w, h / 2)
            s.glyph(rng, x - size / 2, y - size / 2, size, ink)
    s.rgb *= (0.8 + 0.4 * noise(rng, s.px, 0.3 * ppm, 6, 2.0))[..., None]
    s.rgb += 0.1 * np.clip(noise(rng, s.px, 2 * w * ppm, 2) - 0.5, 0, 1)[..., None]
    return s


def window(s: Sheet, rng: Rng, x: float, y: float, w: float, h: float) -> None:
    """A window with frame, panes, curtain and, at times, something below it."""
    frame = hsv(rng.random(), 0.25, rng.uniform(0.25, 0.8))
    s.box(x - 0.06, y - 0.06, w + 0.12, h + 0.12, frame, puff=0.03, drop=0.05)
    sky = np.stack([hsv(0.57, 0.35, rng.uniform(0.45, 0.8)), hsv(0.6, 0.4, rng.uniform(0.12, 0.3))])
    if rng.random() < 0.3:
        sky = np.stack([hsv(0.11, 0.45, 0.98), hsv(0.07, 0.7, 0.7)])
    s.box(x, y, w, h, sky)
    if rng.random() < 0.6:
        tone = hsv(rng.random(), 0.25, rng.uniform(0.6, 0.95))
        for i in range(rng.integers(2, 6)):
            s.box(x + 0.07 * i * w, y + 0.05, 0.075 * w, h - 0.05, tone, puff=0.03, alpha=0.85)
    for i in range(1, 1 + rng.integers(1, 3)):
        s.box(x + w * i / 3 - 0.02, y, 0.04, h, frame, puff=0.02, drop=0.02)
    if rng.random() < 0.6:
        s.box(x, y + 0.62 * h, w, 0.04, frame, puff=0.02, drop=0.02)
    s.box(x - 0.1, y - 0.13, w + 0.2, 0.07, frame * 1.1, puff=0.03, drop=0.08)
    below = rng.integers(5)
    if below == 0:  # air conditioner
        s.box(x + 0.1, y - 0.75, 0.8, 0.56, np.float32([0.8, 0.8, 0.76]), puff=0.03, drop=0.1)
        s.oval(x + 0.4, y - 0.47, 0.21, 0.21, np.float32([0.3, 0.32, 0.34]), puff=0.05)
        for i in range(5):
            s.box(x + 0.2, y - 0.63 + 0.075 * i, 0.4, 0.015, np.float32([0.7, 0.7, 0.68]))
    elif below == 1:  # flower box
        s.box(x, y - 0.2, w, 0.2, hsv(0.05, 0.6, 0.5), puff=0.04, drop=0.06)
        for _ in range(26):
            hue = rng.choice([0.3, 0.33, 0.95, 0.02, 0.13])
            s.oval(
                x + rng.uniform(0, w),
                y + rng.uniform(-0.1, 0.22),
                0.05,
                0.05,
                hsv(hue, 0.8, rng.uniform(0.4, 0.95)),
                puff=0.05,
                drop=0.03,
            )
    elif below == 2:  # washing on a rail
        for i in range(4):
            s.box(
                x + i * w / 4,
                y - 0.85,
                w / 4.6,
                rng.uniform(0.4, 0.7),
                vivid(rng),
                puff=0.04,
                bump=0.012,
                drop=0.06,
            )
        s.line([(x - 0.1, y - 0.2), (x + w + 0.1, y - 0.22)], 0.018, np.float32([0.8] * 3))
    elif below == 3:  # balcony
        s.box(x - 0.25, y - 0.5, w + 0.5, 0.14, np.float32([0.6, 0.58, 0.55]), puff=0.04, drop=0.15)
        for i in range(12):
            s.box(x - 0.22 + i * (w + 0.4) / 11, y - 0.4, 0.025, 0.75, frame * 0.6, drop=0.03)
        s.box(x - 0.25, y + 0.35, w + 0.5, 0.04, frame * 0.7, puff=0.02, drop=0.04)


def shop(s: Sheet, rng: Rng, x: float, w: float) -> None:
    """The open ground floor: lamps over shelves with rows of like goods."""
    s.box(x, 0, w, 3.0, np.stack([hsv(0.1, 0.4, 0.66), hsv(0.08, 0.5, 0.16)]))
    for level in np.arange(0.72, 2.45, 0.29):
        s.box(x, level - 0.035, w, 0.035, hsv(0.1, 0.3, 0.75), drop=0.06)
        at, glow = x + 0.05, 0.55 + 0.2 * level
        while at < x + w - 0.15:
            width, tall = rng.uniform(0.06, 0.15), rng.uniform(0.13, 0.23)
            tone, mark, round_ = vivid(rng) * glow, vivid(rng) * glow, rng.random() < 0.45
            for _ in range(rng.integers(2, 6)):
                if at > x + w - width:
                    break
                if round_:
                    u, v = at + width / 2, level + 0.62 * tall
                    s.line(
                        [(u, v), (u, level + tall)], [width / 3, width / 7], tone, 0, puff=width / 3
                    )
                    s.box(
                        at,
                        level,
                        width * 0.92,
                        0.66 * tall,
                        tone,
                        puff=width / 2,
                        gloss=0.5,
                        drop=0.02,
                    )
                    s.box(u - width / 6, level + tall, width / 3, 0.15 * tall, mark)
                else:
                    s.box(at, level, width, tall, np.stack([tone * 1.15, tone * 0.8]), drop=0.02)
                s.box(at + 0.1 * width, level + 0.25 * tall, 0.8 * width, 0.3 * tall, mark)
                at += width + 0.012
        for u in np.arange(x + 0.1, x + w - 0.1, 0.27):
            s.box(u, level - 0.04, 0.09, 0.045, hsv(0.14, rng.choice([0.05, 0.7]), 0.98))
    for u in np.arange(x + 0.3, x + w, 0.7):  # bulbs under tin shades
        s.line([(u, 3.0), (u, 2.7)], 0.008, np.float32([0.1] * 3))
        s.oval(u, 2.6, 0.06, 0.07, np.float32([1, 0.97, 0.85]))
        s.poly(
            [(u - 0.13, 2.62), (u - 0.04, 2.74), (u + 0.04, 2.74), (u + 0.13, 2.62)],
            hsv(0.4, 0.5, 0.4),
            puff=0.05,
            gloss=0.5,
        )


def facade(rng: Rng, w: float, h: float, ppm: float) -> Sheet:
    """The front of a house: walls, windows, pipes, shop and fascia."""
    s = Sheet(w, h, ppm)
    tone = hsv(
        rng.choice([0.03, 0.07, 0.11, 0.42, 0.5, 0.58, 0.62, 0.95, rng.random()]),
        rng.uniform(0.12, 0.55),
        rng.uniform(0.5, 0.85),
    )
    kind = rng.integers(4)
    unit = [(0.24, 0.08), (0.1, 0.1), (0.16, 3.0), (1.4, 0.9)][kind]
    s.cover(
        masonry(
            rng,
            s.px,
            ppm,
            unit,
            tone,
            0.012,
            0.5 if kind in (0, 3) else 0.0,
            (0.16, 0.08, 0.1, 0.04)[kind],
        )
    )
    stain = noise(rng, s.px, 0.35 * ppm, 5, 5.0)
    s.rgb *= (0.6 + 0.75 * stain)[..., None]
    columns = max(1, int(w / 1.9))
    for y in np.arange(4.6, h - 1.2, 2.9):
        wide = rng.uniform(0.9, 1.5)
        for i in range(columns):
            window(
                s, rng, -w / 2 + (i + 0.5) * w / columns - wide / 2, y, wide, rng.uniform(1.2, 1.6)
            )
        s.box(-w / 2, y - 1.0, w, 0.1, tone * 0.8, puff=0.05, drop=0.12)
    s.box(-w / 2, h - 0.35, w, 0.35, tone * 0.75, puff=0.1, drop=0.3)
    shop(s, rng, -w / 2 + 0.15, w - 0.3)
    sign = board(rng, w - 0.1, 0.85, ppm)
    y1 = s.px[0] - round(3.0 * ppm)
    x1 = (s.px[1] - sign.px[1]) // 2
    s.rgb[y1 - sign.px[0] : y1, x1 : x1 + sign.px[1]] = sign.rgb
    for _ in range(3):
        x = rng.uniform(-w / 2, w / 2)
        s.line(
            [(x, 3.9), (x, h)], 0.04, tone * rng.uniform(0.4, 0.9), puff=0.04, gloss=0.3, drop=0.1
        )
    return s


def awning(rng: Rng, w: float, h: float, ppm: float) -> Sheet:
    """Striped canvas with the day shining through it and folds between the ribs."""
    s = Sheet(w, h, ppm)
    one = vivid(rng)
    two = np.float32([0.97, 0.93, 0.84]) if rng.random() < 0.7 else vivid(rng)
    n = max(4, int(w / rng.uniform(0.22, 0.4)))
    x = np.linspace(0, n, s.px[1], dtype=np.float32)[None, :] * np.ones((s.px[0], 1), np.float32)
    mix = np.clip(0.5 + np.sin(np.pi * x) * 8, 0, 1)[..., None]
    fold = 0.5 * np.abs(np.sin(np.pi * x * 4 / n)) + noise(rng, s.px, 0.25 * ppm, 4, 0.4)
    s.cover(np.clip(one * mix + two * (1 - mix), 0, 1) * (0.55 + 0.45 * fold)[..., None])
    return s


def valance(rng: Rng, cover: Sheet, drop: float) -> Sheet:
    """The scalloped edge that hangs from an awning, in the same stripes."""
    s = Sheet(cover.w, drop, cover.ppm)
    n = max(4, int(cover.w / 0.28))
    x = np.linspace(-s.w / 2, s.w / 2, 12 * n + 1)
    edge = 0.02 + 0.09 * np.abs(np.cos(np.pi * n * (x / s.w + 0.5)))
    hem = np.column_stack([x, edge])
    s.poly(
        [(-s.w / 2, drop), *hem, (s.w / 2, drop)],
        np.repeat(cover.rgb[-1:], s.px[0], 0) * 1.25,
        puff=0.02,
        bump=0.012,
    )
    s.line(hem.tolist(), 0.008, vivid(rng), 0)
    return s


def fruit(s: Sheet, rng: Rng, kind: int, x: float, y: float, r: float) -> None:
    """One piece of produce of about radius r."""
    look = {"puff": r, "gloss": 0.5, "drop": 0.3 * r}
    if kind < 7:  # round: orange, apple, lime, tomato, plum, peach, lemon
        hue = (0.08, 0.99, 0.26, 0.02, 0.8, 0.05, 0.14)[kind] + rng.normal(0, 0.012)
        val = (0.95, 0.8, 0.7, 0.9, 0.5, 0.98, 0.98)[kind] * rng.uniform(0.8, 1.05)
        tone = hsv(hue, rng.uniform(0.65, 0.95), val)
        blush = hsv(hue + rng.choice([-0.06, 0.05]), 0.8, val * 0.9)
        s.oval(
            x,
            y,
            r * rng.uniform(0.9, 1.08),
            r * rng.uniform(0.85, 1.0),
            np.stack([blush, tone]),
            rng.uniform(0, 3),
            **look,
        )
        if kind in (1, 3, 5):  # a stem
            u, v = rng.normal(0, 0.3, 2) * r
            s.line(
                [(x + u, y + v), (x + 1.4 * u, y + v + 0.3 * r)],
                0.07 * r,
                hsv(0.25, 0.6, 0.3),
                drop=0.1 * r,
            )
    elif kind == 7:  # fish
        turn = rng.normal(0.1, 0.12)
        c, d = math.cos(turn), math.sin(turn)
        at = [
            (x + r * (u * c - v * d), y + r * (u * d + v * c))
            for u, v in ((-2.1, 0), (-1, 0.1), (0.4, 0.05), (1.5, 0), (1.8, 0))
        ]
        skin = np.stack([hsv(0.57, 0.45, 0.4), hsv(0.55, 0.08, 0.97)])
        s.line(
            [(at[3][0], at[3][1]), (x + 2.3 * r * c, y + 2.3 * r * d + 0.5 * r)],
            [0.1 * r, 0.3 * r],
            skin[0],
            puff=r,
        )
        s.line(
            at,
            [0.15 * r, 0.55 * r, 0.6 * r, 0.2 * r, 0.1 * r],
            skin,
            gloss=0.9,
            puff=0.6 * r,
            drop=0.3 * r,
        )
        s.oval(x - 1.55 * r, y + 0.1 * r, 0.14 * r, 0.14 * r, np.float32([0.95, 0.9, 0.5]))
        s.oval(x - 1.55 * r, y + 0.1 * r, 0.07 * r, 0.07 * r, np.float32([0.02] * 3))
    elif kind == 8:  # leaves
        for _ in range(4):
            t = rng.uniform(0, 2 * np.pi)
            c, d = math.cos(t), math.sin(t)
            tip = (x + 1.6 * r * c, y + 1.6 * r * d)
            s.line(
                [(x, y), (x + 0.8 * r * c, y + 0.8 * r * d), tip],
                [0.15 * r, 0.55 * r, 0.05 * r],
                hsv(rng.uniform(0.22, 0.36), 0.75, rng.uniform(0.3, 0.8)),
                puff=0.3 * r,
                drop=0.25 * r,
                bump=0.05 * r,
            )
            s.line([(x, y), tip], 0.04 * r, hsv(0.24, 0.4, 0.85))
    else:  # long: carrot, aubergine, cucumber, banana, chilli
        tone = (
            hsv(0.07, 0.9, 0.95),
            hsv(0.78, 0.6, 0.32),
            hsv(0.32, 0.75, 0.5),
            hsv(0.14, 0.85, 0.97),
            hsv(0.0, 0.95, 0.8),
        )[kind - 9]
        t = rng.normal(0.3, 0.25)
        c, d, bend = math.cos(t), math.sin(t), (0.1, 0.1, 0, 0.5, 0.3)[kind - 9] * r
        s.line(
            [
                (x - 1.7 * r * c, y - 1.7 * r * d),
                (x - bend * d, y + bend),
                (x + 1.7 * r * c, y + 1.7 * r * d),
            ],
            [(0.1, 0.4, 0.3, 0.2, 0.05)[kind - 9] * r, 0.5 * r, 0.42 * r],
            tone * rng.uniform(0.85, 1.1),
            **{**look, "puff": 0.5 * r},
        )


def crates(rng: Rng, w: float, h: float, ppm: float, *, heap: bool = False) -> Sheet:
    """Trays of produce side by side; heap: one row of piles seen from the front."""
    s = Sheet(w, h, ppm)
    if not heap:
        s.cover(masonry(rng, s.px, ppm, (1.5, 0.12), hsv(0.08, 0.5, 0.4), 0.015))
    across, down = max(1, round(w / 0.62)), 1 if heap else max(1, round(h / 0.5))
    cw, ch = w / across, h / down
    for j in range(down):
        for i in range(across):
            x, y = -w / 2 + i * cw, h - (j + 1) * ch
            kind, r = int(rng.choice(14, p=PRODUCE)), rng.uniform(0.034, 0.055)
            if heap:
                for k in range(int(ch / (1.5 * r))):
                    v = y + r + 1.45 * r * k
                    half = (0.5 - 0.42 * k * 1.5 * r / ch) * cw - r
                    for u in np.arange(-half, half, 1.9 * r):
                        fruit(s, rng, kind, x + cw / 2 + u + rng.normal(0, 0.2 * r), v, r)
            else:
                s.box(
                    x + 0.01,
                    y + 0.01,
                    cw - 0.02,
                    ch - 0.02,
                    hsv(rng.choice([0.1, 0.58, 0.35, 0.0]), 0.5, 0.6),
                    puff=0.03,
                    drop=0.02,
                )
                s.box(x + 0.04, y + 0.04, cw - 0.08, ch - 0.08, hsv(0.1, 0.4, 0.2))
                for v in np.arange(y + ch - 0.07, y + 0.05, -1.5 * r):
                    for u in np.arange(x + 0.07, x + cw - 0.05, 1.8 * r):
                        fruit(
                            s, rng, kind, u + rng.normal(0, 0.2 * r), v + rng.normal(0, 0.15 * r), r
                        )
            if rng.random() < 0.7:  # price card
                u, v = x + cw * rng.uniform(0.3, 0.6), y + ch * rng.uniform(0.25, 0.6)
                s.box(
                    u, v, 0.13, 0.12, hsv(rng.choice([0.13, 0.15, 0.0, 0.3]), 0.8, 1.0), drop=0.03
                )
                s.word(
                    str(rng.integers(2, 99) * 10), u + 0.015, v + 0.03, 0.1, 0.06, hsv(0, 0.9, 0.4)
                )
    return s


def lantern(rng: Rng, size: float, ppm: float) -> Sheet:
    """A paper lantern, lit from within."""
    s = Sheet(size, 1.75 * size, ppm)
    hue = rng.choice([0.0, 0.01, 0.03, 0.09, 0.13, 0.95, 0.35])
    y, rx, ry = 0.95 * size, 0.45 * size, rng.choice([0.5, 0.62]) * size
    s.line([(0, 0.02 * size), (0, 0.3 * size)], 0.05 * size, hsv(hue, 0.9, 0.6), puff=0.05 * size)
    s.oval(0, y, rx, ry, np.stack([hsv(hue, 0.95, 0.75), hsv(hue + 0.02, 0.8, 0.98)]))
    for k in (0.85, 0.65, 0.42):
        s.oval(0, y - 0.08 * size, rx * k, ry * k, hsv(hue + 0.035, 0.85 * k, 1.0), alpha=0.35)
    for v in np.linspace(-0.9, 0.9, 15):
        half = rx * math.sqrt(1 - v * v)
        s.line(
            [(-half, y + v * ry), (0, y + v * ry - 0.03 * size), (half, y + v * ry)],
            0.008 * size,
            hsv(hue, 0.9, 0.45),
            alpha=0.55,
        )
    s.glyph(rng, -0.2 * size, y - 0.2 * size, 0.4 * size, np.float32([0.12, 0.05, 0.05]))
    for v in (-1, 1):
        s.box(
            -0.2 * size,
            y + v * 0.97 * ry - 0.05 * size,
            0.4 * size,
            0.1 * size,
            np.float32([0.12, 0.1, 0.1]),
            puff=0.05 * size,
            gloss=0.5,
        )
    s.line([(0, y + ry), (0, s.h)], 0.012 * size, np.float32([0.1] * 3))
    return s


def umbrella(s: Sheet, rng: Rng, x: float, y: float, r: float) -> None:
    """An open umbrella seen from a little below its rim."""
    one, two = vivid(rng), vivid(rng) if rng.random() < 0.5 else np.float32([0.95, 0.92, 0.85])
    plain = rng.random() < 0.4
    s.line([(x, y - 1.0 * r), (x, y + 0.6 * r)], 0.015, np.float32([0.25] * 3), puff=0.015)
    edge = np.cos(np.linspace(np.pi, 0, 9)) * r
    for i in range(8):
        a, b = x + edge[i], x + edge[i + 1]
        tone = one if plain or i % 2 else two
        tone = tone * (1.12 - 0.08 * i)
        s.poly(
            [
                (x, y + 0.62 * r),
                (x + 0.75 * (a - x), y + 0.45 * r),
                (a, y),
                ((a + b) / 2, y + 0.07 * r),
                (b, y),
                (x + 0.75 * (b - x), y + 0.45 * r),
            ],
            np.stack([tone * 1.1, tone * 0.75]),
            1,
            puff=0.1 * r,
            drop=0.02,
        )
    s.line([(x, y + 0.55 * r), (x, y + 0.7 * r)], 0.02 * r, np.float32([0.2] * 3))


def person(rng: Rng, ppm: float, *, away: bool) -> Sheet:
    """A standing or walking figure, from behind (away) or from the front."""
    s = Sheet(1.7, 2.45, ppm)
    s.lean = rng.normal(0, 0.025)
    skin = hsv(rng.uniform(0.05, 0.075), rng.uniform(0.3, 0.55), rng.uniform(0.55, 0.95))
    hair = hsv(
        rng.uniform(0.03, 0.1), rng.uniform(0.1, 0.6), rng.choice([0.1, 0.12, 0.18, 0.3, 0.55])
    )
    low = hsv(rng.choice([0.6, 0.62, 0.1, 0.0]), rng.uniform(0.1, 0.6), rng.uniform(0.15, 0.6))
    low = (
        low * (0.75 + 0.5 * noise(rng, s.px, 0.01 * ppm, 2)[..., None])
        if rng.random() < 0.75
        else cloth(rng, s.px, ppm) * 0.85
    )
    top, swing, wide = cloth(rng, s.px, ppm), rng.uniform(-0.12, 0.12), rng.uniform(0.88, 1.12)
    dress, bare = rng.random() < 0.35, rng.random() < 0.45
    fold = {"puff": 0.075, "bump": 0.008, "drop": 0.035}
    for side in (-1, 1):
        lift, foot = max(0.0, side * swing), 0.08 * side + 0.5 * swing * side
        s.oval(
            foot + 0.02 * side,
            0.05 + lift,
            0.05,
            0.09 if away else 0.065,
            hsv(rng.random(), 0.4, rng.uniform(0.08, 0.8)),
            puff=0.05,
            gloss=0.3,
        )
        leg = [(0.085 * side * wide, 0.9), (0.09 * side, 0.5 + lift), (foot, 0.1 + lift)]
        if dress:
            s.line(leg, [0.09, 0.055, 0.035], skin, puff=0.06, drop=0.03)
        else:
            s.line(leg, [0.105 * wide, 0.075, 0.06], low, **fold)
    hem, spread = (rng.uniform(0.42, 0.7), 0.27) if dress else (rng.uniform(0.74, 0.88), 0.185)
    bends = rng.random(2) < 0.35
    for side, bend in zip((-1, 1), bends, strict=True):
        if bend and away:  # the forearm is in front of the body, out of sight
            arm(s, rng, side * wide, swing, skin, top, bend=bend, bare=bare)
    if not away:
        s.line([(0, 1.38), (0, 1.52)], 0.048, skin * 0.85, puff=0.05)
    s.poly(
        [
            (-0.06, 1.49),
            (-0.13, 1.455),
            (-0.2 * wide, 1.39),
            (-0.19 * wide, 1.2),
            (-0.16 * wide, 1.03),
            (-spread * wide, hem),
            (spread * wide, hem),
            (0.16 * wide, 1.03),
            (0.19 * wide, 1.2),
            (0.2 * wide, 1.39),
            (0.13, 1.455),
            (0.06, 1.49),
        ],
        top,
        2,
        **{**fold, "puff": 0.1},
    )
    if not away:
        s.poly([(-0.055, 1.49), (0, 1.39), (0.055, 1.49)], skin * 0.92, drop=0.01)
    for side, bend in zip((-1, 1), bends, strict=True):
        if not (bend and away):
            arm(s, rng, side * wide, swing, skin, top, bend=bend, bare=bare)
    if away and rng.random() < 0.4:  # rucksack
        tone = vivid(rng) * 0.75
        for x in (-0.12, 0.12):
            s.line([(x, 1.47), (1.1 * x, 1.36)], 0.022, tone * 0.6, puff=0.02)
        s.poly(
            [(-0.15, 0.98), (0.15, 0.98), (0.16, 1.3), (0.09, 1.42), (-0.09, 1.42), (-0.16, 1.3)],
            tone,
            2,
            puff=0.08,
            bump=0.008,
            drop=0.07,
        )
        s.poly(
            [(-0.11, 1.01), (0.11, 1.01), (0.11, 1.17), (-0.11, 1.17)],
            tone * 1.1,
            1,
            puff=0.03,
            bump=0.004,
            drop=0.03,
        )
        s.line([(-0.13, 1.22), (0, 1.235), (0.13, 1.22)], 0.006, np.float32([0.8] * 3), drop=0.02)
        s.box(-0.03, 1.3, 0.06, 0.025, np.float32([0.9, 0.85, 0.7]), drop=0.01)
    elif rng.random() < 0.4:
        s.line(
            [(-0.12, 1.46), (0.0, 1.25), (0.2, 0.95)],
            0.016,
            np.float32([0.25, 0.14, 0.08]),
            drop=0.03,
        )
    if away:
        s.line([(0, 1.49), (0, 1.54)], 0.048, skin * 0.8, puff=0.05)
        s.line([(-0.065, 1.48), (0, 1.465), (0.065, 1.48)], 0.02, top, puff=0.02, drop=0.02)
    head(s, rng, skin, hair, away=away)
    if rng.random() < 0.14:
        umbrella(s, rng, 0.22, 1.78, 0.6)
    rim = np.clip(
        s.a - np.roll(s.a, max(1, round(0.012 * ppm)), 0), 0, 1
    )  # sun from the street's end
    rim = 0.55 * s.a * cv2.GaussianBlur(rim, (0, 0), max(0.5, 0.004 * ppm))
    s.rgb += rim[..., None] * HAZE
    s.rgb *= np.linspace(1.1, 0.7, s.px[0], dtype=np.float32)[:, None, None]
    return s


def arm(
    s: Sheet,
    rng: Rng,
    side: float,
    swing: float,
    skin: Array,
    sleeve: Array,
    *,
    bend: bool,
    bare: bool,
) -> None:
    """One arm, sleeved or bare, at times with a bag in the hand."""
    hand = (0.1 * side, 1.12) if bend else (0.24 * side + swing * 0.5, 0.86)
    line = [(0.175 * side, 1.385), (0.235 * side, 1.13), hand]
    fold = {"puff": 0.055, "bump": 0.008, "drop": 0.035}
    s.oval(*hand, 0.036, 0.055, skin, puff=0.04, drop=0.02)
    if bare:
        s.line(line, [0.045, 0.04, 0.03], skin, puff=0.05, drop=0.03)
        s.line(line[:2], [0.062, 0.06], sleeve, **fold)
    else:
        s.line(line, [0.062, 0.055, 0.045], sleeve, **fold)
    if rng.random() < 0.3 and not bend:
        x, y = hand
        s.line(
            [(x - 0.07, y - 0.2), (x, y), (x + 0.07, y - 0.2)], 0.01, np.float32([0.3, 0.2, 0.1])
        )
        s.poly(
            [
                (x - 0.14, y - 0.46),
                (x + 0.15, y - 0.46),
                (x + 0.13, y - 0.16),
                (x - 0.12, y - 0.16),
            ],
            cloth(rng, s.px, s.ppm),
            1,
            **fold,
        )


def head(s: Sheet, rng: Rng, skin: Array, hair: Array, *, away: bool) -> None:
    """Head, hair or hat, and features when they can be seen."""
    strands = hair * (0.5 + 1.1 * noise(rng, s.px, max(1.6, 0.007 * s.ppm), 2, 9.0))[..., None]
    for side in (-1, 1):
        s.oval(0.082 * side, 1.605, 0.016, 0.028, skin * 0.85, puff=0.02)
    s.poly(
        [
            (-0.03, 1.485),
            (-0.07, 1.53),
            (-0.088, 1.62),
            (-0.075, 1.7),
            (0, 1.735),
            (0.075, 1.7),
            (0.088, 1.62),
            (0.07, 1.53),
            (0.03, 1.485),
        ],
        np.stack([skin, skin * 0.85]),
        2,
        puff=0.11,
        drop=0.03,
    )
    if away:
        low = rng.choice([1.5, 1.52, 1.52, 1.4, 1.25])
        s.poly(
            [
                (-0.098, 1.62),
                (-0.085, low),
                (-0.03, low - 0.02),
                (0.03, low - 0.025),
                (0.085, low),
                (0.098, 1.62),
                (0.08, 1.72),
                (0, 1.765),
                (-0.08, 1.72),
            ],
            strands,
            2,
            puff=0.09,
            gloss=0.2,
            drop=0.02,
        )
        if low > 1.5 and rng.random() < 0.3:
            s.oval(0, 1.74, 0.05, 0.045, strands, puff=0.05, gloss=0.2, drop=0.02)
    else:
        dark = np.float32([0.1, 0.06, 0.05])
        for side in (-1, 1):
            s.oval(0.035 * side, 1.622, 0.026, 0.016, skin * 0.8, alpha=0.6)
            s.oval(0.035 * side, 1.618, 0.015, 0.006, np.float32([0.85, 0.82, 0.78]))
            s.oval(0.035 * side, 1.618, 0.006, 0.006, dark)
            s.line(
                [(0.016 * side, 1.622), (0.036 * side, 1.627), (0.054 * side, 1.619)], 0.0025, dark
            )
            s.line(
                [(0.016 * side, 1.642), (0.04 * side, 1.649), (0.058 * side, 1.641)],
                0.004,
                0.6 * hair + 0.2 * skin,
            )
        s.line([(0.0, 1.625), (0.004, 1.585)], [0.006, 0.014], skin * 1.02, puff=0.014)
        s.oval(0, 1.574, 0.013, 0.004, skin * 0.55, alpha=0.7)
        s.line(
            [(-0.024, 1.543), (0, 1.54 + rng.normal(0, 0.003)), (0.024, 1.543)],
            [0.003, 0.006, 0.003],
            skin * (0.85, 0.55, 0.55),
        )
        s.poly(
            [
                (-0.09, 1.58),
                (-0.096, 1.68),
                (-0.05, 1.75),
                (0.03, 1.76),
                (0.09, 1.69),
                (0.09, 1.59),
                (0.078, 1.66),
                (0.02, 1.685),
                (-0.06, 1.67),
                (-0.078, 1.63),
            ],
            strands,
            2,
            puff=0.05,
            gloss=0.2,
            drop=0.015,
        )
    hat, tone = rng.integers(9), vivid(rng)
    if hat == 0:  # straw
        straw = hsv(0.12, 0.4, 0.9) * (0.7 + 0.6 * noise(rng, s.px, 0.008 * s.ppm, 2))[..., None]
        s.oval(0, 1.685, 0.2, 0.05, straw, puff=0.03, drop=0.05)
        s.poly([(-0.1, 1.68), (-0.09, 1.79), (0.09, 1.79), (0.1, 1.68)], straw, 2, puff=0.08)
        s.line([(-0.1, 1.7), (0, 1.69), (0.1, 1.7)], 0.014, tone)
    elif hat == 1:  # cap
        s.poly(
            [(-0.1, 1.66), (-0.09, 1.75), (0, 1.79), (0.09, 1.75), (0.1, 1.66)], tone, 2, puff=0.08
        )
        if not away:
            s.poly(
                [(-0.1, 1.66), (0.1, 1.66), (0.12, 1.635), (-0.12, 1.635)],
                tone * 0.8,
                1,
                puff=0.02,
                drop=0.03,
            )
    elif hat == 2:  # scarf
        s.poly(
            [
                (-0.105, 1.6),
                (-0.1, 1.72),
                (0, 1.79),
                (0.1, 1.72),
                (0.105, 1.6),
                (0.06, 1.69),
                (-0.06, 1.69),
            ],
            cloth(rng, s.px, s.ppm),
            2,
            puff=0.06,
            bump=0.006,
            drop=0.02,
        )


def hanging(rng: Rng, ppm: float) -> Sheet:
    """Goods that hang under an awning: a shirt, a bag, dried fish, garlic, a teapot-like jar."""
    s = Sheet(0.6, 0.8, ppm)
    s.line([(0, 0.8), (0, 0.68)], 0.008, np.float32([0.1] * 3))
    kind = rng.integers(4)
    if kind == 0:
        s.poly(
            [
                (-0.1, 0.7),
                (-0.28, 0.6),
                (-0.22, 0.46),
                (-0.16, 0.5),
                (-0.17, 0.1),
                (-0.17, 0.05),
                (-0.12, 0.05),
                (0.12, 0.05),
                (0.17, 0.05),
                (0.17, 0.1),
                (0.16, 0.5),
                (0.22, 0.46),
                (0.28, 0.6),
                (0.1, 0.7),
                (0, 0.65),
            ],
            cloth(rng, s.px, ppm),
            1,
            puff=0.04,
            bump=0.01,
        )
    elif kind == 1:
        s.line([(-0.12, 0.4), (0, 0.72), (0.12, 0.4)], 0.012, np.float32([0.3, 0.2, 0.1]))
        tone = vivid(rng)
        s.poly(
            [(-0.22, 0.1), (0.22, 0.1), (0.17, 0.45), (-0.17, 0.45)],
            tone,
            1,
            puff=0.05,
            gloss=0.2,
            bump=0.004,
        )
        s.poly(
            [(-0.17, 0.45), (0.17, 0.45), (0.15, 0.27), (0, 0.22), (-0.15, 0.27)],
            tone * 0.8,
            1,
            puff=0.02,
            gloss=0.3,
            drop=0.02,
        )
        s.oval(0, 0.26, 0.025, 0.025, hsv(0.13, 0.6, 0.95), puff=0.02, gloss=0.8)
    elif kind == 2:
        s.line([(-0.26, 0.68), (0.26, 0.68)], 0.012, np.float32([0.4, 0.25, 0.12]), puff=0.01)
        scales = noise(rng, s.px, 0.02 * ppm, 3, 0.4)[..., None]
        for i in range(6):
            x, k = -0.22 + 0.085 * i, rng.uniform(0.75, 1.0)
            tone = hsv(0.09, 0.4, rng.uniform(0.5, 0.85))
            y = 0.68 - np.float32([0, 0.06, 0.3, 0.46, 0.56]) * k
            s.poly(
                [(x, y[3]), (x - 0.05, y[4]), (x + 0.05, y[4])],
                tone * 0.7 * (0.5 + scales),
                puff=0.01,
            )
            s.line(
                [(x, v) for v in y[:4]],
                [0.012, 0.036, 0.04, 0.012],
                tone * (0.4 + 1.2 * scales),
                puff=0.03,
                gloss=0.4,
                drop=0.02,
            )
            s.oval(x, y[1] + 0.01, 0.01, 0.01, np.float32([0.05] * 3))
    else:
        for i in range(16):
            fruit(s, rng, int(rng.choice([13, 1, 6])), rng.normal(0, 0.06), 0.66 - 0.037 * i, 0.05)
    return s


def flag(rng: Rng, ppm: float) -> Sheet:
    """A tall banner on its pole."""
    s, one = Sheet(0.6, 2.5, ppm), vivid(rng)
    s.line([(-0.25, 0), (-0.25, 2.48)], 0.014, np.float32([0.85] * 3), puff=0.014)
    s.line([(-0.25, 2.45), (0.24, 2.43)], 0.01, np.float32([0.85] * 3), puff=0.01)
    s.poly(
        [(-0.24, 2.42), (0.22, 2.4), (0.24, 1.5), (0.2, 0.62), (-0.23, 0.6)],
        np.stack([one, vivid(rng) if rng.random() < 0.5 else one * 0.8]),
        puff=0.03,
        bump=0.016,
    )
    for i in range(4):
        s.glyph(rng, -0.17, 2.02 - 0.41 * i, 0.34, np.float32([0.97, 0.95, 0.9]))
    return s


def bundle(rng: Rng, ppm: float) -> Sheet:
    """A pile of boxes, or a plant in its pot, set down at the edge of the way."""
    s = Sheet(0.8, 1.1, ppm)
    if rng.random() < 0.5:
        y = 0.0
        for _ in range(rng.integers(2, 4)):
            w, h = rng.uniform(0.4, 0.56), rng.uniform(0.2, 0.3)
            x = rng.uniform(-0.05, 0.05) - w / 2
            tone = hsv(0.09, rng.choice([0.08, 0.45]), rng.uniform(0.6, 0.9))
            s.box(x, y, w, h, np.stack([tone, tone * 0.7]), puff=0.015, drop=0.05)
            s.box(x + 0.42 * w, y, 0.1 * w, h, tone * 1.12, alpha=0.7)
            s.word(rng.choice(WORDS), x + 0.06, y + 0.07, 0.3 * w, 0.07, vivid(rng) * 0.7)
            y += h
    else:
        pot = hsv(rng.choice([0.04, 0.6, 0.1]), 0.6, 0.6)
        s.poly(
            [(-0.15, 0), (0.15, 0), (0.21, 0.36), (-0.21, 0.36)],
            np.stack([pot, pot * 0.6]),
            puff=0.12,
        )
        for _ in range(70):
            fruit(s, rng, 8, rng.normal(0, 0.12), rng.uniform(0.35, 0.9), 0.045)
        for _ in range(24):
            s.oval(
                rng.normal(0, 0.14),
                rng.uniform(0.4, 0.95),
                0.03,
                0.026,
                pot * (1.4, 0.8, 1.2),
                puff=0.03,
                drop=0.02,
            )
    return s


def pigeon(rng: Rng, ppm: float) -> Sheet:
    """A street pigeon."""
    s, tone = Sheet(0.4, 0.3, ppm), hsv(0.6, 0.15, rng.uniform(0.35, 0.8))
    tone = tone * (0.7 + 0.6 * noise(rng, s.px, 0.012 * ppm, 2, 0.5))[..., None]
    for x in (-0.02, 0.03):
        s.line([(x, 0), (x, 0.09)], 0.007, hsv(0.0, 0.6, 0.7))
    s.line([(-0.17, 0.09), (-0.05, 0.13), (0.06, 0.15)], [0.02, 0.065, 0.06], tone, puff=0.06)
    for k in range(2):
        s.line([(-0.13 + 0.04 * k, 0.1), (-0.08 + 0.05 * k, 0.15)], 0.008, tone * 0.4)
    peck = rng.choice([0.0, 0.1])
    s.line(
        [(0.07, 0.16), (0.11, 0.23 - peck)],
        [0.05, 0.035],
        hsv(rng.uniform(0.3, 0.8), 0.4, 0.4),
        puff=0.04,
        gloss=0.3,
    )
    s.line([(0.135, 0.23 - peck), (0.17, 0.22 - peck)], [0.01, 0.004], hsv(0.1, 0.4, 0.6))
    s.oval(0.12, 0.24 - peck, 0.007, 0.007, hsv(0.05, 0.9, 0.95))
    return s
