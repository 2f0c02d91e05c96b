"""Currents of arrays whose wires have resistance, by methods of this replay's own.

Passive arrays. Word line m is driven at its left end through driver and one segment, its right end is open;
bit line n is open at the top and ends, behind one more segment and the sense stage, at 0 V. With R the
resistance that cells n and n' share on the way from the source, R[n, n'] = driver + (min(n, n') + 1) word,
a word line at V whose bit lines are at v carries the cell currents

    i = G (V - R i - v)    so    i = Y (V - v),  Y = (1 + G R)^-1 G,  G = diag(g[m, :]).

Marching down the bit lines, what hangs above a row is i = J V - K v with one column of J per source. A word
line adds Y to K and its row sums to its column of J; a segment of r ohm divides both by 1 + r K. Nothing is
subtracted, and resistances may be 0. At the bottom v = 0, and J is the transfer matrix.

Gated arrays with sources at ground. A cell that is on carries g V (1 - c d), d the sag of its bit line. What
hangs above a cell's node is i = j - p d; a cell adds g V and g V c, a segment divides both by 1 + r p. Pulses
turn rows off one after the other: between two ends the same rows are on.
"""

from dataclasses import dataclass

import numpy as np


class Passive:
    """Resistances in ohm."""

    def __init__(self, drop):
        keys = "word_line_ohm", "bit_line_ohm", "driver_ohm", "sense_ohm"
        self.word, self.bit, self.driver, self.sense = (float(drop.get(key, 0.0)) for key in keys)


def transfer(g, wires):
    """I = T V: amperes into the ground of each bit line per volt at each source, [bit lines, word lines]."""
    n_rows, n_cols = g.shape
    at = np.arange(n_cols)
    shared = wires.driver + (np.minimum.outer(at, at) + 1) * wires.word
    above, drawn = np.zeros((n_cols, n_cols)), np.zeros((n_cols, n_rows))
    one = np.eye(n_cols)
    for row in range(n_rows):
        cells = np.linalg.solve(one + g[row][:, None] * shared, np.diag(g[row]))
        above += cells
        drawn[:, row] = cells.sum(axis=1)
        segment = wires.bit + (wires.sense if row == n_rows - 1 else 0.0)
        both = np.linalg.solve(one + segment * above, np.hstack([above, drawn]))
        above, drawn = both[:, :n_cols], both[:, n_cols:]
    return drawn


@dataclass
class Patterns:
    """Which rows are on, how long, and in which column of a product: [patterns, ...]."""

    on: np.ndarray
    length: np.ndarray
    column: np.ndarray


class Ladder:
    """The bit lines of a gated array with sources at ground."""

    def __init__(self, drop, n_rows):
        self.bit, self.sense = float(drop.get("bit_line_ohm", 0.0)), float(drop.get("sense_ohm", 0.0))
        self.volts = float(drop["bit_line_volts"])
        self.slope = self.volts * float(drop["output_conductance_per_volt"])
        self.n_rows = n_rows

    def charges(self, g, rows, lines, lengths, at_once=1 << 15):
        """Siemens times length, [lines, columns], of pulses on `rows` as long as `lengths` [rows, columns]."""
        if (lengths < 0).any():
            raise ValueError("a gate is driven below 0")
        out = np.zeros((len(lines), lengths.shape[1]))
        order = np.argsort(rows)
        rows, patterns = rows[order], self.patterns(lengths[order])
        cells = g[np.ix_(rows, lines)]
        for start in range(0, len(patterns.length), at_once):
            part = slice(start, start + at_once)
            y = self.solve(rows, cells, patterns.on[part]) * patterns.length[part, None]
            np.add.at(out.T, patterns.column[part], y)
        return out

    @staticmethod
    def patterns(lengths):
        ends = np.sort(lengths, axis=0)
        durations = np.diff(ends, axis=0, prepend=0.0)
        end, column = np.nonzero(durations)
        on = lengths[:, column] >= ends[end, column]
        return Patterns(on.T, durations[end, column], column)

    def solve(self, rows, cells, on):
        """Current over voltage of each line, [patterns, lines], while rows are on, [patterns, rows]."""
        current = np.zeros((len(on), cells.shape[1]))
        admittance = np.zeros_like(current)
        below = np.append(rows[1:], self.n_rows) - rows
        for at, segments in enumerate(below):
            ohm = segments * self.bit + (self.sense if at == len(rows) - 1 else 0.0)
            lit = np.where(on[:, at, None], cells[at], 0.0)
            current += lit * self.volts
            admittance += lit * self.slope
            passed = 1.0 / (1.0 + ohm * admittance)
            current *= passed
            admittance *= passed
        return current / self.volts
