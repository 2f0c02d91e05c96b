"""Reproduces every ADC code of a traced run from an export, in NumPy, with no code of the toolchain.

    python3 replay.py DIR      reads DIR/manifest.json, DIR/tiles.npz and DIR/trace.npz

What is taken from the export: conductances and read noise of all cells at the time of use, wiring, ranges,
gains, offsets, scales, shifts, biases, the digital program, and the chip file. What is taken from the
trace: the network's input, the normal draws of each conversion's noise, and, to compare with, drives, codes
and layer outputs (made in double precision). All else is computed here, by the arithmetic that the
documentation states; currents of arrays with wires by methods of this file's own (`wires.py`).

A code is *equal*, or *excepted* where the exact code lies within 1e-6 of the middle between two, or *wrong*.
After an excepted code that differs the run goes on with the traced one. The JSON on stdout counts them; the
exit status is 1 where any number is wrong, 2 where the chip has something that this program does not model.
"""

import json
import sys
import tomllib
from pathlib import Path

import numpy as np

import digital
import wires

TIE = 1e-6
PAIR, PLUS, MINUS = 0, 1, 2
# Acts on cells, which the export holds, or is computed here.
MODELLED = {
    "stuck", "programming", "drift", "temperature", "gradient", "disturb", "rtn", "measured", "ir_drop",
    "read", "column_gain", "column_offset", "output_noise",
}
MODELLED_KEYS = {
    "dac": {"bits", "drive", "negative", "bits_per_slice", "accumulate"},
    "adc": {"bits", "lo_cells", "hi_cells", "range_per", "coding", "shared_by"},
}
# What a chip file says of what is not there.
NOTHING = (0, 0.0, [], "ideal")


class Unsupported(Exception):
    """Something in the chip that this program does not model."""


class Chip:
    """What a chip file says, as far as it matters here."""

    def __init__(self, manifest):
        self.file = tomllib.loads(manifest["chip"]["toml"])
        self.acting = set(manifest["die"]["effects"])
        effects = self.file.get("effects", {})
        for name in effects:
            if name in self.acting and name not in MODELLED:
                raise Unsupported(f"effect {name}")
        for table, keys in MODELLED_KEYS.items():
            for key, value in self.file[table].items():
                if key not in keys and value not in NOTHING:
                    raise Unsupported(f"{table}.{key} = {value}")
        if effects.get("column_gain", {}).get("drift_sd_per_decade"):
            raise Unsupported("gains that age")
        self.effects = {name: it for name, it in effects.items() if name in self.acting}
        arrays, dac, adc = self.file["arrays"], self.file["dac"], self.file["adc"]
        self.gated = arrays["topology"] == "gated"
        self.on_rows = arrays.get("pairs", "columns") == "rows"
        self.g_max = float(self.file["cell"]["g_max_siemens"])
        self.drive = dac["drive"]
        self.sign_magnitude = dac.get("negative", "two-pass") == "sign-magnitude"
        self.dac_bits = dac["bits"] if "dac" in self.acting else None
        self.slice_bits = self.n_slices = None
        self.added = False
        if self.drive == "bit-serial" and self.dac_bits:
            self.slice_bits = dac.get("bits_per_slice", 1)
            self.n_slices = -(-self.dac_bits // self.slice_bits)
            self.added = dac.get("accumulate", "digital") == "analog"
        self.max_code = 2 ** adc["bits"] - (2 if adc.get("coding") == "sign-magnitude" else 1)
        self.rounds = "adc" in self.acting
        lo, hi = np.float32(adc["lo_cells"]), np.float32(adc["hi_cells"])
        self.nominal_lsb = float(hi - lo) / self.max_code
        self.reads_vary = self.effects.get("read", {}).get("correlation", "mvm") != "frozen"
        self.reads_vary &= "read" in self.effects
        noise = self.effects.get("output_noise", {})
        parts = noise.get("sd_lsb", 0.0) * self.nominal_lsb, noise.get("current_sd_cells", 0.0)
        self.output_sd = np.sqrt(parts[0] * parts[0] + parts[1] * parts[1])
        self.has_output_noise = "output_noise" in self.effects

    @property
    def converts_slices(self):
        return self.n_slices is not None and not self.added

    @property
    def unit(self):
        """Full scales per drive unit."""
        if self.converts_slices:
            return 1.0 / (2**self.slice_bits - 1)
        return 1.0 / (2**self.dac_bits - 1) if self.dac_bits else 1.0


class Conversions:
    """The conversions of one tile: weights, variances and converters, one entry per readout."""

    def __init__(self, chip, tile, arrays, export):
        self.chip, self.tile = chip, tile
        name = tile["id"]
        pick = lambda what: export[f"{name}_readout_{what}"]
        f64 = lambda what: pick(what).astype(np.float64)
        self.lo, self.hi = f64("lo"), f64("hi")
        self.step = (self.hi - self.lo) / chip.max_code
        self.per_current = chip.max_code / (self.hi - self.lo)
        self.gain = f64("gain")
        self.code_scale = self.gain / self.step
        self.code_shift = (f64("offset_lsb") * chip.nominal_lsb - self.lo) / self.step
        self.scale, self.shift, self.col = f64("scale"), f64("shift"), pick("col")
        self.spans = list(zip(pick("rows_start").tolist(), pick("rows_end").tolist()))
        self.lanes = pick("col") * tile["slices"] + pick("slice")
        self.terms = [self.terms_of(*it) for it in zip(self.lanes, pick("terminal"))]
        self.arrays = arrays
        n_rows = tile["rows"][1] - tile["rows"][0]
        self.weights = np.zeros((len(self.terms), n_rows))
        self.variances = np.zeros_like(self.weights)
        for conversion, terms in enumerate(self.terms):
            span = slice(*self.spans[conversion])
            for array, rows, line, sense, drive in terms:
                cells = arrays[array]
                seen = cells.seen[rows[span], line]
                g, sd = cells.g[rows[span], line], cells.read_sd[rows[span], line]
                share = np.divide(seen, g, out=np.ones_like(g), where=g > 0)
                self.weights[conversion, span] += sense * drive * seen / chip.g_max
                self.variances[conversion, span] += (share * sd / chip.g_max) ** 2
        per_square = chip.unit * self.gain * self.per_current
        self.variances *= (per_square * per_square)[:, None]
        self.output_variance = (chip.output_sd * self.per_current) ** 2

    def terms_of(self, lane, terminal):
        """The sides that a conversion sums: array, word lines, bit line, sign of sense stage and drive."""
        tile = self.tile
        plus = tile["array"], np.array(tile["plus_rows"]), tile["plus_cols"][lane]
        if terminal == PLUS:
            return [(*plus, 1.0, 1.0)]
        minus = tile["minus_array"], np.array(tile["minus_rows"]), tile["minus_cols"][lane]
        if terminal == MINUS:
            return [(*minus, 1.0, 1.0)]
        return [(*plus, 1.0, 1.0), (*minus, *((1.0, -1.0) if self.chip.on_rows else (-1.0, 1.0)))]

    def currents(self, driven):
        """Normalised currents, [conversions, columns], of drives in drive units, [rows, columns]."""
        chip = self.chip
        if not any(self.arrays[term[0]].ladder for terms in self.terms for term in terms):
            return (self.weights * chip.unit) @ driven
        out = np.zeros((len(self.terms), driven.shape[1]))
        for span in sorted(set(self.spans)):
            sides = {}
            for conversion, terms in enumerate(self.terms):
                if self.spans[conversion] == span:
                    for array, rows, line, sense, drive in terms:
                        sides.setdefault((array, tuple(rows)), []).append((conversion, line, sense, drive))
            for (array, rows), picks in sides.items():
                cells, part = self.arrays[array], slice(*span)
                lines = np.array([pick[1] for pick in picks])
                y = self.pulses(cells, np.array(rows)[part], lines, driven[part])
                for (conversion, _, sense, drive), y in zip(picks, y):
                    out[conversion] += sense * drive * y / chip.g_max
        return out

    def pulses(self, cells, rows, lines, driven):
        """Charges through the ladders of a gated array, [lines, columns], of pulses in drive units."""
        chip, ladder = self.chip, cells.ladder
        if not chip.added:
            return ladder.charges(cells.g, rows, lines, driven) * chip.unit
        whole = 0.0
        for k, digits in enumerate(digits_of(driven, chip)):
            weight = 2.0 ** (chip.slice_bits * k) / (2**chip.dac_bits - 1)
            whole = whole + ladder.charges(cells.g, rows, lines, digits) * weight
        return whole

    def exact_codes(self, driven, draws):
        """Codes before rounding and clipping, [conversions, columns]."""
        chip = self.chip
        exact = self.code_scale[:, None] * self.currents(driven) + self.code_shift[:, None]
        if not (chip.reads_vary or chip.has_output_noise):
            return exact
        variance = np.broadcast_to(self.output_variance[:, None], exact.shape)
        if chip.reads_vary:
            squares = driven * driven
            if chip.added:
                squares = sum(
                    (digits * 2.0 ** (chip.slice_bits * k)) ** 2
                    for k, digits in enumerate(digits_of(driven, chip))
                )
            variance = variance + self.variances @ squares
        return exact + np.sqrt(variance) * draws.astype(np.float64)

    def value(self, codes):
        return self.lo[:, None] + self.step[:, None] * codes


class Cells:
    """An array's cells, and what a drive sees of them through wires."""

    def __init__(self, chip, name, export):
        self.g, self.read_sd = export[f"{name}_conductances"], export[f"{name}_read_sds"]
        self.seen, self.ladder = self.g, None
        if not (drop := chip.effects.get("ir_drop")):
            return
        if drop.get("method", "exact") != "exact":
            raise Unsupported("ir_drop by the fast method")
        if not chip.gated:
            self.seen = wires.transfer(self.g, wires.Passive(drop)).T
        elif drop.get("source_line_ohm", 0.0):
            raise Unsupported("source lines")
        elif drop.get("output_conductance_per_volt", 0.0):
            self.ladder = wires.Ladder(drop, len(self.g))


def digits_of(codes, chip):
    """Slices of the bits of codes, the lowest first, each with the sign of its code."""
    base, rest = 2.0**chip.slice_bits, np.abs(codes)
    for _ in range(chip.n_slices):
        digit = np.mod(rest, base)
        yield np.copysign(digit, codes)
        rest = (rest - digit) / base


class Replay:
    """A run, layer by layer, compared with its trace."""

    def __init__(self, folder):
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.export = np.load(folder / "tiles.npz")
        self.trace = np.load(folder / "trace.npz")
        chip = self.chip = Chip(self.manifest)
        names = {tile[side] for tile in self.manifest["tiles"] for side in ("array", "minus_array")}
        arrays = {name: Cells(chip, name, self.export) for name in sorted(names)}
        self.tiles = [Conversions(chip, it, arrays, self.export) for it in self.manifest["tiles"]]
        self.layers = {it["id"]: it for it in self.manifest["layers"]}
        self.counts = {"codes": 0, "equal": 0, "excepted": 0, "wrong": 0, "clipped": 0, "drives": 0}
        self.counts |= {"wrong_drives": 0, "layer_outputs": 0, "wrong_layer_outputs": 0}
        self.counts["largest_distance_lsb"] = 0.0
        self.first_wrong = []

    def complain(self, where, exact, got, want):
        if len(self.first_wrong) < 8:
            self.first_wrong.append({**where, "exact": exact, "replayed": got, "traced": want})

    def run(self):
        outputs = digital.run_program(self.manifest, self.export, self.trace["input"], self.multiply)
        want = self.trace["outputs"]
        close = np.abs(outputs - want).max() <= 1e-5 * max(1.0, np.abs(want).max())
        self.counts["outputs_agree"] = bool(close)
        return self.counts

    def passes(self, layer, x, shift):
        """Whole drives of every pass in steps of the DAC, or in full scales without it.

        A tile may add a `shift` of its own to the sizes of inputs before they are rounded.
        """
        per_input = 1.0 / np.float64(np.float32(layer["full_scale"]))
        x = x.astype(np.float64)
        if not layer["signed"]:
            parts = [np.maximum(x * per_input, 0.0)]
        elif self.chip.sign_magnitude:
            parts = [x * per_input]
        else:
            parts = [np.maximum(x * per_input, 0.0), np.maximum(x * -per_input, 0.0)]
        if self.chip.dac_bits is None:
            return parts
        steps = 2.0**self.chip.dac_bits - 1
        sizes = [np.rint(np.clip(np.abs(part), 0.0, 1.0) * steps + shift) for part in parts]
        return [np.copysign(np.clip(size, 0.0, steps), part) for size, part in zip(sizes, parts)]

    def multiply(self, name, x):
        """A layer's outputs for input vectors, [rows, columns]."""
        layer, chip = self.layers[name], self.chip
        bias = self.export[layer["bias"]]
        out = np.repeat(bias[:, None], x.shape[1], axis=1)
        correlation = chip.effects.get("read", {}).get("correlation", "mvm")
        per_image = int(self.trace[f"{name}_per_image"][0])
        if chip.reads_vary and correlation == "image" and per_image * (chip.n_slices or 1) > 1:
            raise Unsupported("read noise that holds for an image")
        for tile in (it for it in self.tiles if it.tile["layer"] == name):
            passes = self.passes(layer, x, tile.tile["drive_shift"])
            rows = slice(*tile.tile["rows"])
            values = [tile.value(self.convert(tile, p, it[rows])) for p, it in enumerate(passes)]
            y = values[0] - values[1] if len(values) == 2 else values[0]
            self.add(tile, y, out)
            if len(sums := self.export[f"{tile.tile['id']}_drive_sum"]):
                unit = 1.0 / (2.0**chip.dac_bits - 1) if chip.dac_bits else 1.0
                total = sum(sign * it[rows].sum(axis=0) for sign, it in zip((1.0, -1.0), passes)) * unit
                for col, per_drive in enumerate(sums.astype(np.float64)):
                    gain(out, tile.tile["cols"][0] + col, per_drive * total)
        traced = self.trace[f"{name}_out"]
        self.counts["layer_outputs"] += out.size
        self.counts["wrong_layer_outputs"] += int((out != traced).sum())
        return out

    def add(self, tile, y, out):
        """Adds what conversions are worth, one after the other, each sum rounded to single precision."""
        first, end = tile.tile["cols"]
        for conversion, col in enumerate(tile.col.tolist()):
            worth = tile.scale[conversion] * y[conversion] + tile.shift[conversion]
            for target in [first + col] if first + col < end else range(first, end):
                gain(out, target, worth)

    def convert(self, tile, number, whole):
        """The codes of one pass over a tile, [conversions, columns], checked slice by slice."""
        chip, key = self.chip, f"{tile.tile['id']}_p{number}"
        traced, draws = self.trace[f"{key}_codes"], self.trace[f"{key}_draws"]
        slices = list(digits_of(whole, chip)) if chip.converts_slices else [whole]
        drives = self.trace[f"{key}_drives"]
        self.counts["drives"] += drives.size
        if drives.shape != (len(slices), *whole.shape) or traced.shape[0] != len(slices):
            raise ValueError(f"{key}: {len(slices)} slices of {whole.shape}, traced {drives.shape}")
        acc = np.zeros(traced.shape[1:])
        for k, driven in enumerate(slices):
            wrong = driven != drives[k]
            self.counts["wrong_drives"] += int(wrong.sum())
            for row, column in np.argwhere(wrong)[:1].tolist():
                where = {"tile": tile.tile["id"], "pass": number, "slice": k, "row": row, "column": column}
                self.complain(where, None, driven[row, column], drives[k, row, column])
            exact = tile.exact_codes(driven, draws[k])
            codes = self.settle(tile, (number, k), exact, traced[k])
            if not chip.converts_slices:
                return codes
            acc = (acc + codes) * 2.0**-chip.slice_bits
        all_bits, of_slices = 2.0**chip.dac_bits - 1, 2.0 ** (chip.slice_bits * chip.n_slices)
        top = (2.0**chip.slice_bits - 1) * of_slices / all_bits
        surplus = (of_slices - 1) / all_bits - 1.0
        return top * acc + (surplus * (tile.lo * tile.per_current))[:, None]

    def settle(self, tile, place, exact, traced):
        """Rounded codes, compared with the traced ones."""
        counts = self.counts
        if self.chip.rounds:
            codes = np.rint(np.clip(exact, 0.0, self.chip.max_code))
            differs = codes != traced
            at_tie = np.abs(exact - np.floor(exact) - 0.5) <= TIE
            excepted = differs & at_tie & (np.abs(exact - traced) <= 0.5 + TIE)
            counts["clipped"] += int(((exact < 0) | (exact > self.chip.max_code)).sum())
        else:
            codes, excepted = exact, np.zeros(exact.shape, bool)
            differs = np.abs(exact - traced) > TIE
            counts["largest_distance_lsb"] = max(
                counts["largest_distance_lsb"], float(np.abs(exact - traced).max(initial=0.0))
            )
        wrong = differs & ~excepted
        counts["codes"] += codes.size
        counts["equal"] += int((~differs).sum())
        counts["excepted"] += int(excepted.sum())
        counts["wrong"] += int(wrong.sum())
        for conversion, column in np.argwhere(wrong).tolist():
            where = {"layer": tile.tile["layer"], "tile": tile.tile["id"], "pass": place[0]}
            where |= {"slice": place[1], "conversion": conversion, "column": column}
            at = conversion, column
            self.complain(where, float(exact[at]), float(codes[at]), float(traced[at]))
        return np.where(differs, traced, codes)


def gain(out, row, worth):
    """Adds to a row of single-precision outputs, with one rounding."""
    out[row] = (out[row].astype(np.float64) + worth).astype(np.float32)


def main():
    folder = Path(sys.argv[1])
    try:
        replay = Replay(folder)
        counts = replay.run()
    except Unsupported as missing:
        print(f"this replay does not model {missing}", file=sys.stderr)
        return 2
    print(json.dumps({"numpy": np.__version__, **counts, "first_wrong": replay.first_wrong}, indent=1))
    bad = counts["wrong"] or counts["wrong_drives"] or not counts["outputs_agree"]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
