"""The calm picture: a wide bay after sunset, with a jetty, a gull and one boat under sail.

Light is added and mixed in linear values, as it falls on a film, and turned into the levels of a
picture at the end.  The water is not painted: a sum of small waves gives each of its points a
slope, and the slope says which part of the scene above is mirrored there.
"""

from __future__ import annotations

from statistics import NormalDist

import cv2
import numpy as np
from painting import Array, Rng, Sheet, curve, hsv, masonry, noise
from PIL import Image

WIDTH, HEIGHT = 1165, 585
FOCAL, CENTER, HORIZON, EYE = 1100.0, 582.0, 392.0, 2.2  # camera: pixels, and meters for EYE
ABOVE = 330  # rows of sky beyond the upper edge, seen in the water only
SUN = -0.1  # where it went down: pixels right of the center, by FOCAL
BOAT = 66.0  # meters from the camera
TONES = (  # a height above the horizon (by FOCAL), the sky there at the sun's side and far from it
    (0.00, (253, 190, 128), (214, 172, 168)),
    (0.03, (250, 194, 146), (212, 177, 180)),
    (0.08, (233, 192, 172), (192, 176, 194)),
    (0.14, (208, 192, 194), (176, 178, 200)),
    (0.22, (178, 183, 202), (154, 171, 201)),
    (0.34, (140, 166, 200), (128, 156, 196)),
    (0.70, (84, 120, 172), (80, 114, 166)),
)


def light(level: Array | tuple) -> Array:
    """Levels of a picture (0 to 1) as amounts of light."""
    return np.clip(np.asarray(level, np.float32), 0, None) ** 2.2


class Layer:
    """A transparent picture of light, as large as the scene; colors are multiplied by alpha."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.rgba = np.zeros((round(HEIGHT * scale), round(WIDTH * scale), 4), np.float32)

    def put(self, sheet: Sheet, corners: list, *, mirror: bool = False) -> None:
        """Hang a sheet by its corners in space: top left, top right, bottom right, bottom left.

        mirror: as a mirror lying on the water would show it.
        """
        p = np.float32(corners)
        h = -p[:, 1] if mirror else p[:, 1]
        uv = np.stack([CENTER + FOCAL * p[:, 0] / p[:, 2], HORIZON + FOCAL * (EYE - h) / p[:, 2]])
        uv = uv.T * self.scale
        side = np.linalg.norm(uv - np.roll(uv, -1, 0), axis=1)
        want = (max(side[0], side[2]), max(side[1], side[3]))
        color = light(sheet.rgb / np.maximum(sheet.a, 1e-3)[..., None]) * sheet.a[..., None]
        image = np.dstack([color, sheet.a])
        size = [int(min(n, max(3, 1.25 * w))) for n, w in zip(sheet.px[::-1], want, strict=True)]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        ih, iw = image.shape[:2]
        source = np.float32([(0, 0), (iw, 0), (iw, ih), (0, ih)]) - 0.5
        matrix = cv2.getPerspectiveTransform(source, np.float32(uv - 0.5))
        image = cv2.warpPerspective(image, matrix, self.rgba.shape[1::-1], flags=cv2.INTER_LINEAR)
        self.rgba = image + self.rgba * (1 - image[..., 3:])

    def stand(self, sheet: Sheet, x: float, y: float, z: float, *, mirror: bool = False) -> None:
        """A sheet facing the camera, its bottom edge at height y, its middle at x."""
        a, b, top = x - sheet.w / 2, x + sheet.w / 2, y + sheet.h
        self.put(sheet, [(a, top, z), (b, top, z), (b, y, z), (a, y, z)], mirror=mirror)


def sky(rng: Rng, scale: float) -> Array:
    """The clear sky, warm where the sun went down, with thin clouds low over the horizon."""
    h, w = round((HORIZON + ABOVE) * scale), round(WIDTH * scale)
    y, x = (g.astype(np.float32) for g in np.mgrid[0:h, 0:w])
    up = (h - 0.5 - y) / (FOCAL * scale)
    side = ((x + 0.5) / scale - CENTER) / FOCAL - SUN
    steps = np.linspace(0, 0.7, 701)
    heights = [t[0] for t in TONES]
    warm, cool = (
        np.stack([np.interp(steps, heights, [t[k][c] / 255 for t in TONES]) for c in range(3)], 1)
        for k in (1, 2)
    )
    at = np.clip((up[:, 0] * 1000).round().astype(int), 0, 700)
    warm, cool = (
        light(cv2.GaussianBlur(t.astype(np.float32), (0, 0), 0.1, sigmaY=22))[at][:, None]
        for t in (warm, cool)
    )
    near = np.exp(-((side / 0.36) ** 2))[..., None]
    rgb = cool * (1 - near) + warm * near
    far = np.hypot(side, 1.7 * (up + 0.01))[..., None]
    rgb = rgb + np.exp(-far / 0.09) * np.float32([0.46, 0.22, 0.05])
    # clouds lie in a level sheet far up: seen from below, thinner and closer toward the horizon
    depth = 1 / (up + 0.05)
    plane = noise(rng, (1024, 2048), 190, 6, 0.16)
    u, v = 1024 + 62 * side * depth, 512 + 21 * (depth - 9)
    cloud = cv2.remap(
        plane,
        u.astype(np.float32),
        v.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    band = np.exp(-(((up - 0.075) / 0.05) ** 2)) + 0.35 * np.exp(-(((up - 0.2) / 0.08) ** 2))
    cloud = (np.clip(cloud * 3.4 - 1.75, 0, 1) * band)[..., None]
    glow = np.exp(-far / 0.3)
    tint = light((0.72, 0.62, 0.68)) * (1 - glow) + light((1.0, 0.71, 0.53)) * 1.1 * glow
    cloud = 0.65 * cv2.GaussianBlur(cloud, (0, 0), 1.2 * scale)[..., None]
    return rgb * (1 - cloud) + tint * cloud


def moon(rgb: Array, scale: float) -> None:
    """A thin crescent, its lit side toward the sun below."""
    x, y, r = (CENTER + 318) * scale, (HORIZON + ABOVE - 292) * scale, 6.5 * scale
    v, u = (g.astype(np.float32) / r - 2 for g in np.mgrid[0 : 4 * r, 0 : 4 * r])
    soft = 0.7 / r
    disc = np.clip((1 - np.hypot(u, v)) / soft + 0.5, 0, 1)
    shade = np.clip((0.985 - np.hypot(u - 0.3, v + 0.26)) / soft + 0.5, 0, 1)
    lit = cv2.GaussianBlur(disc * (1 - shade), (0, 0), 0.5 * scale)[..., None]
    x0, y0 = round(x - 2 * r), round(y - 2 * r)
    part = rgb[y0 : y0 + lit.shape[0], x0 : x0 + lit.shape[1]]
    part += lit * (light((1.0, 0.96, 0.86)) - 0.75 * part)


def shore(rgb: Array, rng: Rng, scale: float) -> None:
    """Ranges of hills on the other side, the far ones pale, then a wooded headland."""
    h, w = rgb.shape[:2]
    y, x = (g.astype(np.float32) / scale for g in np.mgrid[h - round(120 * scale) : h, 0:w])
    height = h / scale - y - 0.5 / scale
    part = rgb[-y.shape[0] :]
    x0 = x[0]

    def wave(cell: float, octaves: int) -> Array:
        return noise(rng, (4, w), cell * scale, octaves)[0] - 0.5

    ranges = (
        (20 + 34 * wave(330, 5) + 20 * np.exp(-(((x0 - 150) / 150) ** 2)), (0.69, 0.6, 0.65), 0.62),
        (8 + 22 * wave(240, 6) + 17 * np.exp(-(((x0 - 40) / 130) ** 2)), (0.5, 0.46, 0.55), 0.75),
        (wooded(rng, x0, wave(210, 4)), (0.2, 0.23, 0.29), 0.93),
    )
    for k, (top, tone, thick) in enumerate(ranges):
        a = np.clip((top - height) * scale + 0.5, 0, 1)[..., None]
        color = light(tone)
        if k == 2:  # crowns of trees
            crown = noise(rng, x.shape, 5 * scale, 3, 0.8)
            color = color * (0.55 + 0.9 * crown)[..., None]
        mist = np.exp(-height / (4.0 + 5 * (2 - k)))[..., None]  # over the water
        color = color * (1 - 0.42 * mist) + 0.42 * mist * light((0.86, 0.7, 0.66))
        part[:] = part * (1 - a * thick) + color * a * thick
    for x1, up, size in ((861, 7.0, 0.8), (1016, 9.0, 1.0), (1030, 6.5, 0.7)):  # lit windows
        spot = np.exp(-(((x - x1) ** 2 + (height - up) ** 2) / size**2))[..., None]
        part += spot * np.float32([1.3, 0.72, 0.24])


def wooded(rng: Rng, x: Array, uneven: Array) -> Array:
    """The upper edge of the headland, pixels above the water, tree after tree."""
    rise = 46 * np.clip((x - 770) / 330, 0, 1) ** 0.7 * (1 + 0.4 * uneven)
    top = rise + 5 * np.clip((x - 766) / 9, 0, 1) - 1
    for x1 in rng.uniform(768, WIDTH + 10, 460):
        r, tall, sharp = rng.uniform(1.6, 5.5), rng.uniform(1.0, 3.6), rng.uniform(1.0, 2.6)
        if rng.random() < 0.12:
            r, tall = 0.6 * r, 2.2 * tall
        crown = np.clip(1 - np.abs((x - x1) / r), 0, 1) ** (1 / sharp)
        top = np.maximum(top, (rise + 4 + tall * crown) * (crown > 0))
    return top


def slopes(rng: Rng, x: Array, z: Array, scale: float) -> tuple[Array, Array, Array]:
    """Slopes of the water at points x, z: to the side, to the viewer, and their spread in a pixel.

    Waves too fine to be seen one by one at their distance add to the spread.
    """
    wide, deep = z / (FOCAL * scale), z * z / (EYE * FOCAL * scale)  # one pixel on the water
    across, along, lost = (np.zeros_like(x) for _ in range(3))
    for _ in range(80):
        length = 0.16 * 34 ** rng.random()
        turn = rng.normal(1.25, 0.5)
        kx, kz = 2 * np.pi / length * np.float32([np.cos(turn), np.sin(turn)])
        amount = 0.0027 * rng.uniform(0.5, 1.4) * (0.55 + 0.45 * min(length, 2.0))
        seen = np.exp(-0.11 * ((kx * wide) ** 2 + (kz * deep) ** 2))
        swell = amount * seen * np.sin(kx * x + kz * z + rng.uniform(0, 2 * np.pi))
        across += swell * np.cos(turn)
        along += swell * np.sin(turn)
        lost += 0.5 * amount**2 * (1 - seen**2)
    return across, along, np.sqrt(lost)


def water(rng: Rng, far: Array, layers: list, scale: float) -> Array:
    """The bay, from its mirror: the sky and the shore, and layers with their reach of distortion.

    far: the scene above the horizon. layers: pairs of a mirrored picture with alpha and the factor
    by which waves distort it, from 0 (it touches the water here) to 1 (it is endlessly far).
    """
    w, h = round(WIDTH * scale), round((HEIGHT - HORIZON) * scale)
    y, x = (g.astype(np.float32) for g in np.mgrid[0:h, 0:w])
    dip = (y + 0.5) / (FOCAL * scale)
    z = EYE / dip
    ground = ((x + 0.5) / scale - CENTER) / FOCAL * z
    across, along, rough = slopes(rng, ground, z, scale)
    u, v = (t.astype(np.float32) for t in (512 + 0.9 * ground, 2.4e4 / (z + 14)))
    breeze = noise(rng, (1800, 1024), 120, 5, 0.7)  # where a breath of wind ruffles the water
    breeze = cv2.remap(breeze, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    breeze = 0.45 + 1.1 * np.clip(breeze * 3.2 - 1.15, 0, 1)
    across, along, rough = across * breeze, along * breeze, rough * breeze
    normal = np.float32([NormalDist().inv_cdf((i + 0.5) / 1024) for i in range(1024)])
    start, count = rng.random(x.shape, np.float32), 12
    total = np.zeros((h, w, 3), np.float32)
    flip = np.ascontiguousarray(far[::-1])
    for i in range(count):
        slope = along + rough * normal[((i + start) / count * 1023).astype(np.int32)]
        rise = np.abs(dip + 2 * slope)
        shift = 2 * across * dip * FOCAL * scale
        color = cv2.remap(
            flip, x + shift, rise * FOCAL * scale - 0.5, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT
        )
        for image, reach in layers:
            u, v = x + shift * reach, y + (rise - dip) * FOCAL * scale * reach
            over = cv2.remap(image[-h:], u, v, cv2.INTER_LINEAR)
            color = color * (1 - over[..., 3:]) + over[..., :3]
        graze = np.clip(1 - np.sin(np.clip(dip + slope, 0.002, 1)), 0, 1)
        mirror = (0.02 + 0.98 * graze**5)[..., None]
        total += color * mirror + light((0.13, 0.23, 0.29)) * (1 - mirror)
    return total / count


def sailboat() -> Sheet:
    """A small sloop under sail, seen from its side; the helmsman sits astern."""
    s = Sheet(9.6, 10.6, 90)
    x, y = (g.astype(np.float32) / s.ppm for g in np.mgrid[0 : s.px[0], 0 : s.px[1]][::-1])
    x, y = x - s.w / 2, s.h - y
    glow = np.clip(0.5 - 0.16 * x + 0.05 * (y - 5), 0, 1)[..., None]  # evening light through cloth
    cloth = np.float32([0.8, 0.69, 0.66]) * (1 - glow) + np.float32([0.99, 0.86, 0.74]) * glow
    seam = 1 - 0.05 * np.clip(1 - np.abs((y + 0.12 * x) % 1.15 - 0.5) * 25, 0, 1)[..., None]
    dark, wood = np.float32([0.15, 0.16, 0.2]), np.float32([0.42, 0.29, 0.22])
    mast = -0.35
    s.line([(mast, 1.0), (mast + 0.05, 10.4)], [0.06, 0.045], dark * 1.3)
    for end in ((-3.55, 0.98), (3.3, 0.95)):  # stays
        s.line([(mast + 0.05, 10.3), end], 0.012, dark * 1.4, 0, alpha=0.8)
    leech = curve([(mast + 0.12, 10.1), (0.9, 7.4), (1.95, 4.4), (2.72, 1.75)], 2)
    main = [*leech.tolist(), (1.3, 1.6), (mast + 0.1, 1.68)]
    s.poly(main, cloth * seam * (1 - 0.16 * np.clip(0.5 - x + mast, 0, 1))[..., None])
    luff = [(-3.42, 1.3), (-0.87, 8.66)]
    foot = curve([(-0.87, 8.66), (-0.5, 5.4), (-0.05, 3.4), (0.5, 1.5)], 2)
    foot = [*foot.tolist(), (-1.2, 1.12)]
    s.poly([*luff, *foot], cloth * seam * np.float32([1.0, 0.985, 0.97]), drop=0.1)
    s.line([(mast, 1.6), (2.82, 1.66)], 0.055, wood)
    hull = [(-3.75, 1.02), (-3.1, 0.38), (-2.5, 0), (2.9, 0), (3.35, 0.3), (3.5, 0.86)]
    sheer = curve([(3.5, 0.86), (1.8, 0.74), (-0.6, 0.76), (-3.75, 1.02)], 2).tolist()
    s.poly([(-1.6, 0.7), (-1.2, 1.12), (0.9, 1.08), (1.25, 0.7)], np.float32([0.62, 0.56, 0.55]))
    for x1 in (-0.9, -0.3, 0.3):
        s.box(x1, 0.86, 0.38, 0.1, dark)
    s.oval(2.3, 1.32, 0.13, 0.15, np.float32([0.3, 0.22, 0.2]))
    s.poly([(1.95, 0.7), (2.04, 1.18), (2.42, 1.19), (2.55, 0.7)], np.float32([0.4, 0.2, 0.19]), 1)
    s.poly([*hull, *sheer], np.float32([(0.27, 0.29, 0.37), (0.11, 0.13, 0.19)]))
    rail = [(-3.7, 0.97), *[(a, b - 0.05) for a, b in sheer[::-1]]]
    s.line(rail, 0.028, np.float32([0.8, 0.68, 0.6]))
    s.line([(-2.6, 0.1), (3.1, 0.1)], 0.03, np.float32([0.45, 0.2, 0.18]), 0)
    return s


def gull() -> Sheet:
    """A gull at rest, looking out over the bay."""
    s = Sheet(0.7, 0.5, 300)
    white, gray = np.float32([0.78, 0.74, 0.76]), np.float32([0.42, 0.43, 0.49])
    for x in (-0.02, 0.05):
        s.line([(x, 0), (x - 0.01, 0.12)], 0.008, hsv(0.06, 0.5, 0.5))
    s.line([(-0.26, 0.12), (-0.13, 0.16)], [0.012, 0.03], np.float32([0.1, 0.1, 0.12]))
    s.line([(-0.15, 0.15), (0.0, 0.18), (0.1, 0.22)], [0.05, 0.09, 0.08], white, puff=0.09)
    s.line([(-0.2, 0.15), (-0.05, 0.21), (0.05, 0.23)], [0.02, 0.06, 0.04], gray, puff=0.05)
    s.line([(0.1, 0.24), (0.14, 0.35)], [0.07, 0.058], white, puff=0.06)
    s.line([(0.19, 0.35), (0.265, 0.335)], [0.018, 0.008], hsv(0.11, 0.7, 0.75))
    s.oval(0.16, 0.37, 0.01, 0.01, np.float32([0.05] * 3))
    return s


def jetty(layer: Layer, rng: Rng, *, mirror: bool = False) -> None:
    """A boardwalk on piles, from the lower left corner out into the bay."""
    deck, left, right, start, end = 0.62, -4.35, -2.75, 2.4, 17.2
    lean = 0.055  # meters to the right for each metre out

    def pile(x: float, z: float, top: float) -> None:
        low = -0.2 if mirror else 0.0  # so that no wave tears the mirrored pile off the real one
        s = Sheet(0.3, top - low + 0.02, 160)
        tone = np.float32([0.27, 0.24, 0.25]) * rng.uniform(0.85, 1.1)
        grain = noise(rng, s.px, 0.02 * s.ppm, 4, 7.0)
        body = tone * (0.6 + 0.8 * grain)[..., None]
        foot = 0.0 if mirror else 0.015
        left_half = [(-0.115, s.h - 0.03), (-0.115, foot), (-0.05, 0)]
        s.poly([*left_half, *[(-a, b) for a, b in left_half[::-1]]], body, puff=0.1)
        wet = np.clip((np.linspace(s.h, 0, s.px[0]) + low - 0.22) / 0.1, 0, 1)[:, None, None]
        s.rgb *= (0.42 + 0.58 * wet).astype(np.float32)
        rim = np.clip(s.a - np.roll(s.a, 5, 1), 0, 1)[..., None]
        s.rgb += 0.3 * s.a[..., None] * cv2.GaussianBlur(rim, (0, 0), 2)[..., None] * (1, 0.7, 0.5)
        s.oval(0, s.h - 0.03, 0.115, 0.022, tone * 2.0)
        layer.stand(s, x + lean * z, low, z, mirror=mirror)

    places = np.arange(end - 0.25, 4, -2.6)
    for i, z in enumerate(places):  # the far row, seen below the deck
        pile(left + 0.1, z, deck + (0.62 if i in (0, 3) else -0.05))
    cuts = (end, 14.0, 11.0, 8.0, 5.0, start)
    for far, near in zip(cuts[:-1], cuts[1:], strict=True):
        if mirror:  # only the dark underside is seen
            s = Sheet(1.6, far - near, 40)
            s.cover(np.float32([0.07, 0.06, 0.07]))
        else:
            s = Sheet(1.6, far - near, min(260, 1.6 * layer.scale * FOCAL / near))
            s.cover(planks(rng, s, near, far))
        a, b = lean * near, lean * far
        layer.put(
            s,
            [
                (left + b, deck, far),
                (right + b, deck, far),
                (right + a, deck, near),
                (left + a, deck, near),
            ],
            mirror=mirror,
        )
        side = Sheet(far - near, 0.2, 120)
        grain = 0.6 + 0.8 * noise(rng, side.px, 0.3 * side.ppm, 5, 0.06)
        side.cover(np.float32([0.25, 0.21, 0.21]) * grain[..., None])
        side.rgb *= np.linspace(1.1, 0.6, side.px[0], dtype=np.float32)[:, None, None]
        top = deck + 0.01
        layer.put(
            side,
            [
                (right + a, top, near),
                (right + b, top, far),
                (right + b, top - 0.2, far),
                (right + a, top - 0.2, near),
            ],
            mirror=mirror,
        )
    for i, z in enumerate(places):
        pile(right + 0.1, z, deck + (0.62 if i in (0, 3) else 0.0))
    z = places[0]
    layer.stand(gull(), right + 0.1 + lean * z, deck + 0.61, z, mirror=mirror)


def planks(rng: Rng, s: Sheet, near: float, far: float) -> Array:
    """Weathered boards across the deck, worn pale in the middle, warm where the sky shines back."""
    rgb = masonry(rng, s.px, s.ppm, (4.0, 0.15), np.float32([0.46, 0.43, 0.44]), 0.022, 0.0, 0.012)
    board = (np.arange(s.px[0]) / (0.15 * s.ppm)).astype(int)
    each = (1 + 0.13 * rng.normal(0, 1, board[-1] + 1))[board]
    worn = 0.8 + 0.3 * np.exp(-((np.linspace(-1, 1, s.px[1]) / 0.55) ** 2))
    stain = 0.75 + 0.45 * noise(rng, s.px, 0.4 * s.ppm, 5, 0.5)
    rgb = rgb * (each[:, None] * worn * stain)[..., None]
    out = np.clip(np.linspace(far, near, s.px[0]) / 17, 0, 1)[:, None, None]
    return (rgb * (0.8 + out * np.array([0.75, 0.48, 0.34]))).astype(np.float32)


def develop(rgb: Array, rng: Rng) -> Image.Image:
    """Light into levels, then what a camera adds: a little glow, darker corners and noise."""
    rgb = cv2.resize(rgb, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    rgb = 0.93 * rgb + 0.07 * cv2.GaussianBlur(rgb, (0, 0), 16)
    y, x = (g.astype(np.float32) for g in np.mgrid[0:HEIGHT, 0:WIDTH])
    rim = np.hypot((x - WIDTH / 2) / WIDTH, (y - HEIGHT / 2) / WIDTH)[..., None]
    rgb = rgb * (1.03 - 0.55 * rim**2)
    rgb = np.where(rgb > 0.75, 0.75 + 0.25 * np.tanh((rgb - 0.75) / 0.25), rgb)  # no hard white
    rgb = np.clip(rgb, 0, 1) ** (1 / 2.2)
    rgb = 0.8 * rgb + 0.2 * rgb * rgb * (3 - 2 * rgb)
    grain = rng.normal(0, 1, (HEIGHT, WIDTH, 3)).astype(np.float32)
    grain = 0.6 * grain + 0.8 * grain.mean(2, keepdims=True)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.45)
    rgb = 255 * rgb + 1.7 * grain * (1.2 - 0.6 * rgb)
    return Image.fromarray(np.round(np.clip(rgb, 0, 255)).astype(np.uint8))


def calm(seed: int, scale: float = 2.0) -> Image.Image:
    """The bay, 1165 x 585, drawn `scale` times larger and then averaged down."""
    above = sky(np.random.default_rng([seed, 0]), scale)
    shore(above, np.random.default_rng([seed, 1]), scale)
    moon(above, scale)
    boat, mirrored, walk, walk_mirrored = (Layer(scale) for _ in range(4))
    sloop = sailboat()
    x = 0.105 * BOAT
    boat.stand(sloop, x, 0, BOAT)
    mirrored.stand(sloop, x, 0, BOAT, mirror=True)
    jetty(walk, np.random.default_rng([seed, 2]))
    jetty(walk_mirrored, np.random.default_rng([seed, 2]), mirror=True)
    z = EYE * FOCAL * scale / (np.arange(round((HEIGHT - HORIZON) * scale)) + 0.5)
    reach = np.clip(1 - z / BOAT, 0, 1).astype(np.float32)[:, None]
    layers = [(mirrored.rgba, reach), (walk_mirrored.rgba, np.float32([[0.22]]))]
    below = water(np.random.default_rng([seed, 3]), above, layers, scale)
    rgb = np.concatenate([above[round(ABOVE * scale) :], below])
    for layer in (boat, walk):
        rgb = rgb * (1 - layer.rgba[..., 3:]) + layer.rgba[..., :3]
    return develop(rgb, np.random.default_rng([seed, 4]))
