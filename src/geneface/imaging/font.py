"""A font of strokes for labels and notes: the printable letters of ASCII, so that no font file is needed.

A glyph is strokes set apart by blanks, a stroke is points joined by lines, a point two hexadecimal digits: x, and y
from the bottom up. Letters stand on y = 3; small ones reach to 9, capitals and digits to 12; what hangs down, to 0.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BASELINE, CAPITAL = 3, 9
"""Where letters stand, and how high capitals rise above it, units of the glyphs."""
GAP, SPACE = 2, 3
"""Units between two letters, and the width of a blank."""

_STROKES = {
    "!": "0c06 0403", '"': "0c0a 2c2a", "#": "2c13 4c33 0959 0656", "$": "5b4c1c0b0918485754431304 3d32",
    "%": "5c03 0b1c2b1a0b 3445544334", "&": "53191b2c3b3a0604133356", "'": "0c0a", "(": "2c090522", ")": "0c292502",
    "*": "2b27 0a48 084a", "+": "2a24 0747", ",": "141301", "-": "0737", ".": "0403", "/": "024c",
    "0": "2c0a052333555a3c2c", "1": "1a3c33", "2": "0a1c4c5b590353", "3": "0b1c4c5b594828 485754431304",
    "4": "434c0656", "5": "5c0c08395755331304", "6": "5b3c2c0a0513435457481807", "7": "0c5c23",
    "8": "18090b1c4c5b59481807041343545748", "9": "042333555a4c1c0b08174758", ":": "0403 0908", ";": "141301 1918",
    "<": "4a0744", "=": "0848 0545", ">": "0a4704", "?": "0b1c3c4b492726 2423",
    "@": "483928263546 494655666a5c2c0a052353", "A": "033c63 1656", "B": "030c4c5b594808 4857544303",
    "C": "6b5c2c0a05235364", "D": "030c3c6a653303", "E": "53030c5c 0848", "F": "030c5c 0848",
    "G": "6b5c2c0a052353646838", "H": "030c 636c 0868", "I": "030c", "J": "4c45331304", "K": "030c 5c06 2853",
    "L": "0c0353", "M": "030c366c63", "N": "030c636c", "O": "2c0a052343656a4c2c", "P": "030c4c5b584707",
    "Q": "2c0a052343656a4c2c 3663", "R": "030c4c5b584707 2753", "S": "5b4c1c0b0918485754431304", "T": "0c6c 3c33",
    "U": "0c052343656c", "V": "0c336c", "W": "0c234a638c", "X": "0c63 036c", "Y": "0c386c 3833", "Z": "0c6c0363",
    "[": "2c0c0222", "\\": "0c42", "]": "0c2c2202", "^": "092c49", "_": "0252", "`": "0c1a",
    "a": "4839190804133344 4943", "b": "0c03 0819394844331304", "c": "4839190804133344",
    "d": "4c43 4839190804133344", "e": "06464839190804133344", "f": "3c2c1b13 0939",
    "g": "4839190804133344 4941301001", "h": "0c03 0819394843", "i": "0903 0b0c", "j": "191100 1b1c",
    "k": "0c03 4905 1643", "l": "0c0413", "m": "0903 0819293833 3849596863", "n": "0903 0819394843",
    "o": "190804133344483919", "p": "0900 0819394844331304", "q": "4940 4839190804133344", "r": "0903 081939",
    "s": "483919080716364544331304", "t": "1c142333 0939", "u": "0904133344 4943", "v": "092349",
    "w": "0913385369", "x": "0943 0349", "y": "0923 4910", "z": "09490343", "{": "3c2c1b180716132232",
    "|": "0c02", "}": "0c1c2b283726231202", "~": "06183648",
}  # fmt: skip


@cache
def glyph(letter: str) -> tuple[NDArray[np.float64], int]:
    """Lines [N, 2, 2] of (x, y) in units, y upwards from the line that letters stand on, and the glyph's width.

    What the font lacks is a question mark; a blank has no lines.
    """
    if letter == " ":
        return np.zeros((0, 2, 2)), SPACE
    lines = []
    for stroke in _STROKES.get(letter, _STROKES["?"]).split():
        points = [(int(stroke[at], 16), int(stroke[at + 1], 16) - BASELINE) for at in range(0, len(stroke), 2)]
        lines += pairwise(points)
    drawn = np.array(lines, np.float64)
    return drawn, int(drawn[..., 0].max())
