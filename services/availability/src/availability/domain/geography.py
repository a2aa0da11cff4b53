"""Points and boxes on the globe, for thousands of properties in one pass; used by searches and alternatives."""

from dataclasses import dataclass
from math import asin, cos, degrees, pi, radians, sin

import numpy as np
from numpy.typing import NDArray

EARTH_RADIUS_KM = 6371.0

Place = tuple[float, float]
"""Latitude and longitude in degrees."""
Degrees = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Box:
    """All points between two parallels and, from `west` eastwards to `east`, two meridians; in degrees.

    It crosses the antimeridian where `west` is greater than `east`.
    """

    south: float
    west: float
    north: float
    east: float

    def holds(self, latitudes: Degrees, longitudes: Degrees) -> Mask:
        """Which points are in the box, its edges included; an unknown place (NaN) is not."""
        is_between = (self.south <= latitudes) & (latitudes <= self.north)
        from_west, to_east = self.west <= longitudes, longitudes <= self.east
        return is_between & (from_west & to_east if self.west <= self.east else from_west | to_east)


def distances_km(here: Place, latitudes: NDArray[np.float64], longitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Great-circle distances of a point (latitude, longitude) to others, all in degrees; NaN for an unknown place."""
    latitude, longitude = np.radians(here)
    others, meridians = np.radians(latitudes), np.radians(longitudes)
    chord = (
        np.sin((others - latitude) / 2) ** 2
        + np.cos(latitude) * np.cos(others) * np.sin((meridians - longitude) / 2) ** 2
    )
    found: NDArray[np.float64] = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(chord, 1.0)))
    return found


def box_around(here: Place, radius_km: float) -> Box:
    """A box that holds every point within a distance, and some more."""
    latitude, angle = radians(here[0]), radius_km / EARTH_RADIUS_KM * 1.000_001 + 1e-9
    south, north = latitude - angle, latitude + angle
    if angle >= pi / 2 or south <= -pi / 2 or north >= pi / 2:  # a pole lies within: so does every meridian
        return Box(max(degrees(south), -90.0), -180.0, min(degrees(north), 90.0), 180.0)
    reach = degrees(asin(min(1.0, sin(angle) / cos(latitude)))) + 1e-9
    return Box(degrees(south), _wrapped(here[1] - reach), degrees(north), _wrapped(here[1] + reach))


def _wrapped(longitude: float) -> float:
    return (longitude + 180.0) % 360.0 - 180.0
