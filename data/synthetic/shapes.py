"""What drawn objects can look like: families of shapes and of textures; a pair is a class."""

from collections.abc import Callable

import numpy as np

Texture = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def _polygon(*points: tuple[float, float]) -> list[np.ndarray]:
    return [np.array(points, dtype=np.float64)]


def _polar(radius: Callable[[np.ndarray], np.ndarray], samples: int = 72) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, samples, endpoint=False)
    return np.stack([radius(angle) * np.cos(angle), radius(angle) * np.sin(angle)], axis=1)


def _star() -> list[np.ndarray]:
    angle = np.arange(10) * np.pi / 5
    radius = np.where(np.arange(10) % 2 == 0, 1.1, 0.45)
    return [np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)]


def _crescent() -> list[np.ndarray]:
    outer = np.linspace(0.3 * np.pi, 1.7 * np.pi, 40)
    inner = np.linspace(1.62 * np.pi, 0.38 * np.pi, 40)
    rim = np.stack([np.cos(outer), np.sin(outer)], axis=1)
    bite = np.stack([0.42 + 0.78 * np.cos(inner), 0.78 * np.sin(inner)], axis=1)
    return [np.concatenate([rim, bite])]


def _heart() -> list[np.ndarray]:
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = 16 * np.sin(angle) ** 3
    y = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
    return [np.stack([x, -y], axis=1) / 16]


SHAPES: dict[str, list[np.ndarray]] = {
    "disc": [_polar(lambda a: np.full_like(a, 0.9))],
    "square": _polygon((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    "triangle": _polygon((0, -1.15), (1.0, 0.7), (-1.0, 0.7)),
    "star": _star(),
    "cross": _polygon(
        *[(-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35)],
        *[(0.35, 1), (-0.35, 1), (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35)],
    ),
    "ring": [_polar(lambda a: np.full_like(a, 1.0)), _polar(lambda a: np.full_like(a, 0.5))],
    "crescent": _crescent(),
    "heart": _heart(),
    "corner": _polygon((-0.9, -1), (-0.2, -1), (-0.2, 0.3), (1, 0.3), (1, 1), (-0.9, 1)),
    "bar": _polygon((-1.25, -0.42), (1.25, -0.42), (1.25, 0.42), (-1.25, 0.42)),
    "arrow": _polygon(
        *[(-1.1, -0.3), (0.1, -0.3), (0.1, -0.9), (1.15, 0), (0.1, 0.9), (0.1, 0.3), (-1.1, 0.3)]
    ),
    "flower": [_polar(lambda a: 0.8 + 0.28 * np.cos(5 * a))],
}
"""Contours in a circle of about radius 1; the second contour of a shape is a hole."""


def _speckle(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    cells = np.random.default_rng(seed).random((32, 32)) < 0.45
    return cells[np.floor(2.2 * v).astype(int) % 32, np.floor(2.2 * u).astype(int) % 32]


def _dots(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    return (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.095


def _bricks(u: np.ndarray, v: np.ndarray, seed: int) -> np.ndarray:
    row = np.floor(1.6 * v)
    return ((1.6 * v) % 1 < 0.25) | ((0.8 * u + 0.5 * row) % 1 < 0.14)


TEXTURES: dict[str, Texture] = {
    "plain": lambda u, v, seed: np.zeros_like(u),
    "stripes": lambda u, v, seed: u % 1 < 0.5,
    "checks": lambda u, v, seed: (np.floor(1.3 * u) + np.floor(1.3 * v)) % 2,
    "dots": _dots,
    "rings": lambda u, v, seed: np.hypot(u, v) % 1 < 0.5,
    "grid": lambda u, v, seed: (u % 1 < 0.25) | (v % 1 < 0.25),
    "zigzag": lambda u, v, seed: (v + 1.4 * np.abs((0.6 * u) % 1 - 0.5)) % 1 < 0.45,
    "speckle": _speckle,
    "rays": lambda u, v, seed: (np.arctan2(v, u) * 4 / np.pi) % 1 < 0.5,
    "halves": lambda u, v, seed: u < 0,
    "bricks": _bricks,
    "band": lambda u, v, seed: np.abs(v) < 0.55,
}
"""Patterns over the object's own coordinates, whose unit is one period of the pattern."""


def hue_of(shape: str, texture: str) -> float:
    """The hue in [0, 1) around which a class is coloured; every fifth class shares it."""
    position = list(SHAPES).index(shape) + 2 * list(TEXTURES).index(texture)
    return position % 5 / 5
