//! What a chip's description says of its devices as a whole: current, and how far its data reach.

use nvcim_ir::diag::{Diagnostic, Result};

use crate::describe::Chip;
use crate::effects::EffectSet;

/// How far beyond its last entry a table counts as known. Data of 2 days are meant to answer `--at 2d`,
/// though they count from programming and `--at` from the reference read a moment later.
const TIME_SLACK: f64 = 1.01;

impl Chip {
    /// The current in amperes of a cell with conductance `g`, in siemens and at least 0, at `volts`.
    ///
    /// Ohm's law, unless the chip describes the effect `iv`.
    pub fn current(&self, g: f64, volts: f64) -> f64 {
        self.effects.iv.map_or(g * volts, |iv| iv.current(g, volts))
    }

    /// Checks that the data of those of the chip's effects that are in `effects` reach to `at_s` seconds
    /// after the reference read. Answers with a warning for every one whose data end before, where
    /// `extrapolate` allows that.
    ///
    /// # Errors
    /// The same, where it does not.
    pub fn check_time(
        &self,
        at_s: f64,
        effects: EffectSet,
        extrapolate: bool,
    ) -> Result<Vec<Diagnostic>> {
        let models = self.effects.models().into_iter().filter(|(effect, _)| effects.has(*effect));
        let too_short = models.filter_map(|(effect, model)| {
            let last = model.last_at_s().filter(|last| at_s > TIME_SLACK * last)?;
            let place = format!("chip `{}`: `effects.{effect}`", self.name);
            let message = format!("has data up to {last} s after the reference read, not {at_s} s");
            let hint = if extrapolate {
                "results at this time are extrapolated: say so where you report them"
            } else {
                "choose an earlier time, or allow extrapolation with `--extrapolate`"
            };
            Some(Diagnostic::bad_input(place, message).hint(hint))
        });
        let too_short: Vec<_> = too_short.collect();
        if extrapolate {
            Ok(too_short)
        } else {
            nvcim_ir::diag::fail_if_any(too_short).map(|()| vec![])
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::effects::{Effect, EffectSet};
    use crate::presets::find_preset;

    const DAY: f64 = 86_400.0;

    #[test]
    fn only_data_end_laws_do_not() {
        let neurram = find_preset("rram-neurram").unwrap();
        let all = EffectSet::ALL;
        assert!(neurram.check_time(DAY, all, false).unwrap().is_empty());
        assert!(neurram.check_time(2.0 * DAY, all, false).unwrap().is_empty());
        let refusal = neurram.check_time(3.0 * DAY, all, false).unwrap_err();
        assert!(refusal[0].message.contains("172799 s"), "{}", refusal[0]);
        let warnings = neurram.check_time(3.0 * DAY, all, true).unwrap();
        assert!(warnings[0].hints[0].contains("extrapolated"), "{}", warnings[0]);
        let still = all.without(Effect::Drift);
        assert!(neurram.check_time(3.0 * DAY, still, false).unwrap().is_empty());
        let pcm = find_preset("pcm-ibm").unwrap();
        assert!(pcm.check_time(1e9, all, false).unwrap().is_empty());
    }

    #[test]
    fn cells_without_a_law_of_their_own_follow_ohm() {
        let chip = find_preset("ideal").unwrap();
        assert_eq!(chip.current(1e-4, -0.5), -5e-5);
        let milo = find_preset("rram-milo").unwrap();
        assert_ne!(milo.current(1e-4, 0.5), 5e-5);
    }
}
