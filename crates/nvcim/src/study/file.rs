//! Study files: networks, chips with their strengths, methods, sweeps; read with every problem found.
//!
//! `docs/study.md` specifies the file key by key. Nothing is opened here: names of files stay names.

use std::collections::BTreeSet;

use nvcim_chip::reader::{Section, read_file};
use nvcim_ir::diag::{Result, Warned};

use crate::data::Preprocess;
use crate::study::method::Method;
use crate::time::parse_time;

/// Dies of a study that does not say how many.
const DIES: u64 = 10;

/// A study as its file states it.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyFile {
    /// How reports call it.
    pub name: String,
    /// What it asks, in words.
    pub description: String,
    /// What is compared, weakest first.
    pub methods: Vec<Method>,
    /// A die is good when it loses at most so many points to the reference.
    pub yield_points: f64,
    /// Where to stop before the last die, if anywhere.
    pub stop: Option<Stop>,
    /// Seed of the noise of every run, where the file says one.
    pub run_seed: Option<u64>,
    /// Networks with their data.
    pub networks: Vec<NetworkEntry>,
    /// Chips of the matrix.
    pub chips: Vec<ChipEntry>,
    /// Strengths of one effect, or times.
    pub sweeps: Vec<SweepEntry>,
    /// For which networks effects are switched on one after the other, and on how many dies.
    pub waterfall: (Vec<String>, u64),
    /// The network, the chip and the die that are looked into.
    pub exhibit: Option<(String, String, u64)>,
    /// Networks trained for a chip.
    pub trained: Vec<TrainedEntry>,
}

/// When enough dies were measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    /// Half the 95 % interval of every method's mean accuracy, in points.
    pub half_width_points: f64,
    /// Dies that are measured in any case.
    pub least_dies: u64,
}

/// A network with its data.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkEntry {
    /// How results call it.
    pub name: String,
    /// The ONNX file.
    pub model: String,
    /// Test images with labels.
    pub data: String,
    /// Training images, of which the first are used without their labels.
    pub calibration: String,
    /// How stored values become inputs; its limit is the number of test images.
    pub preprocess: Preprocess,
    /// Dies 0 to this, exclusive, of every chip of the matrix.
    pub dies: u64,
}

/// A chip of the matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct ChipEntry {
    /// How results call it.
    pub name: String,
    /// What is wrong with it, in words.
    pub about: String,
    /// A preset's name, or a chip file.
    pub file: String,
    /// Numbers of the file that are others here.
    pub set: Vec<(String, f64)>,
    /// Seconds after programming at which dies are measured and corrected.
    pub corrected_at_s: f64,
    /// Seconds after programming at which they are used.
    pub used_at_s: f64,
}

/// A chip at several strengths of one effect, or at several times.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepEntry {
    /// How results call it.
    pub name: String,
    /// What the axis shows, with its unit.
    pub axis: String,
    /// Networks that are swept.
    pub networks: Vec<String>,
    /// Methods that are compared.
    pub methods: Vec<Method>,
    /// Dies 0 to this, exclusive.
    pub dies: u64,
    /// Its points: where on the axis, how the axis calls it, and the chip.
    pub points: Vec<(f64, String, ChipEntry)>,
}

/// A network that was trained for a chip, or for all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedEntry {
    /// The network that training began with.
    pub network: String,
    /// The chip that it is put on; `None` for every chip that has no entry of its own.
    pub chip: Option<String>,
    /// The trained ONNX file.
    pub model: String,
    /// The ONNX file of the same training with all effects off.
    pub control: String,
}

/// Reads a study file; `place` is its name in messages. With `quick`, only what the table `[quick]` keeps.
///
/// # Errors
/// Every problem of the file; with `quick`, a file without `[quick]`.
pub fn parse_study(text: &str, place: &str, quick: bool) -> Result<Warned<StudyFile>> {
    read_file(text, place, "study", |root| {
        let mut study = read_study(root);
        let kept = root.optional_section("quick", |section| read_quick(section, &study));
        if quick {
            match kept {
                Some(kept) => kept.apply(&mut study),
                None => root.report("quick", "is missing: the file says nothing of a quick run"),
            }
        }
        Ok(study)
    })
}

fn read_study(root: &mut Section<'_>) -> StudyFile {
    let name = root.required_text("name");
    let description = root.text("description");
    let methods = read_methods(root, &Method::ALL);
    let dies = root.optional_integer("dies", 1..=100_000).unwrap_or(DIES);
    let yield_points = root.number_or("yield_points", 1.0, 0.0..=100.0);
    let stop = root.optional_section("stop", |section| Stop {
        half_width_points: section.number("half_width_points", 0.0..=100.0),
        least_dies: section.integer("least_dies", 2..=100_000),
    });
    let run_seed = root.optional_integer("run_seed", 0..=u64::MAX);
    let networks = root.tables("network", |section| read_network(section, dies));
    if networks.is_empty() {
        root.report("network", "is missing: give at least one `[[network]]`");
    }
    let chips = root.tables("chip", |section| {
        let name = section.required_text("name");
        read_chip(section, name)
    });
    if chips.is_empty() {
        root.report("chip", "is missing: give at least one `[[chip]]`");
    }
    let names: Vec<String> = networks.iter().map(|it| it.name.clone()).collect();
    let chip_names: Vec<String> = chips.iter().map(|it| it.name.clone()).collect();
    refuse_twice(root, "network", &names);
    refuse_twice(root, "chip", &chip_names);
    let defaults = Defaults { networks: &names, methods: &methods, dies };
    let sweeps = root.tables("sweep", |section| read_sweep(section, &defaults));
    refuse_twice(root, "sweep", &sweeps.iter().map(|it| it.name.clone()).collect::<Vec<_>>());
    let waterfall = root.optional_section("waterfall", |section| {
        let networks = read_names(section, "networks", &names);
        (networks, section.optional_integer("dies", 0..=1000).unwrap_or(2))
    });
    let exhibit = root.optional_section("exhibit", |section| {
        let network = read_name(section, "network", &names);
        let chip = read_name(section, "chip", &chip_names);
        (network, chip, section.optional_integer("die", 0..=u64::MAX).unwrap_or(0))
    });
    let trained = root.tables("trained", |section| TrainedEntry {
        network: read_name(section, "network", &names),
        chip: section.has("chip").then(|| read_name(section, "chip", &chip_names)),
        model: section.required_text("model"),
        control: section.required_text("control"),
    });
    StudyFile {
        name,
        description,
        methods,
        yield_points,
        stop,
        run_seed,
        networks,
        chips,
        sweeps,
        waterfall: waterfall.unwrap_or_default(),
        exhibit,
        trained,
    }
}

/// Methods by name, each once, weakest first; naive always runs, since every figure is about what it loses.
fn read_methods(section: &mut Section<'_>, all: &[Method]) -> Vec<Method> {
    let given = section.has("methods");
    let names = section.texts("methods");
    let known = || all.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ");
    for name in names.iter().filter(|name| Method::find(name).is_none_or(|it| !all.contains(&it))) {
        section.report("methods", format!("has `{name}`, must be some of {}", known()));
    }
    let asked =
        |it: &Method| *it == Method::Naive || !given || names.iter().any(|name| name == it.name());
    all.iter().copied().filter(asked).collect()
}

fn read_network(section: &mut Section<'_>, dies: u64) -> NetworkEntry {
    let floats = |section: &mut Section<'_>, key: &str, least: f64| -> Vec<f32> {
        let given = section.has(key);
        let values = given.then(|| section.numbers(key, 1..=4096, least..=1e6));
        values.unwrap_or_default().into_iter().map(|value| value as f32).collect()
    };
    let optional = |section: &mut Section<'_>, key: &str| {
        let given = section.has(key);
        given.then(|| section.number(key, -1e6..=1e6) as f32)
    };
    let name = section.required_text("name");
    let model = section.required_text("model");
    let data = section.required_text("data");
    let calibration = section.required_text("calibration");
    let resize = section.has("resize").then(|| section.numbers("resize", 2..=2, 1.0..=4096.0));
    let preprocess = Preprocess {
        scale: optional(section, "scale"),
        shift: optional(section, "shift").unwrap_or(0.0),
        mean: floats(section, "mean", -1e6),
        std: floats(section, "std", 1e-6),
        resize: resize.map(|size| (size[0] as usize, size[1] as usize)),
        limit: section.optional_integer("images", 1..=u64::from(u32::MAX)).map(|it| it as usize),
    };
    let dies = section.optional_integer("dies", 1..=100_000).unwrap_or(dies);
    NetworkEntry { name, model, data, calibration, preprocess, dies }
}

fn read_chip(section: &mut Section<'_>, name: String) -> ChipEntry {
    let used_at_s = read_time(section, "used_at").unwrap_or(0.0);
    ChipEntry {
        name,
        about: section.text("about"),
        file: section.required_text("file"),
        set: section.optional_section("set", read_numbers).unwrap_or_default(),
        corrected_at_s: read_time(section, "corrected_at").unwrap_or(used_at_s),
        used_at_s,
    }
}

fn read_numbers(section: &mut Section<'_>) -> Vec<(String, f64)> {
    let keys: Vec<String> = section.keys().map(str::to_owned).collect();
    let number = |key: String| {
        let value = section.number(&key, f64::MIN..=f64::MAX);
        (key, value)
    };
    keys.into_iter().map(number).collect()
}

fn read_time(section: &mut Section<'_>, key: &str) -> Option<f64> {
    let text = section.has(key).then(|| section.text(key))?;
    match parse_time(&text) {
        Ok(seconds) => Some(seconds),
        Err(message) => {
            section.report(key, message);
            None
        }
    }
}

/// What a sweep takes over from its study.
struct Defaults<'a> {
    networks: &'a [String],
    methods: &'a [Method],
    dies: u64,
}

fn read_sweep(section: &mut Section<'_>, defaults: &Defaults<'_>) -> SweepEntry {
    let name = section.required_text("name");
    let chip = read_chip(section, name.clone());
    let point = |x: f64, label: String, chip: ChipEntry| {
        let name = format!("{name} {label}");
        (x, label, ChipEntry { name, ..chip })
    };
    let mut points = Vec::new();
    if section.has("times") {
        let times = section.texts("times");
        let refreshed = section.flag_or("refreshed", true);
        for label in times {
            match parse_time(&label) {
                Ok(used_at_s) => {
                    let corrected_at_s = if refreshed { used_at_s } else { 0.0 };
                    let chip = ChipEntry { corrected_at_s, used_at_s, ..chip.clone() };
                    points.push(point(used_at_s, label, chip));
                }
                Err(message) => section.report("times", message),
            }
        }
    } else {
        let keys = section.texts("keys");
        if keys.is_empty() {
            section.report("keys", "is missing: name the chip file's keys, or give `times`");
        }
        for value in section.numbers("values", 2..=64, f64::MIN..=f64::MAX) {
            let changes = keys.iter().map(|key| (key.clone(), value));
            let set = chip.set.iter().cloned().chain(changes).collect();
            points.push(point(value, value.to_string(), ChipEntry { set, ..chip.clone() }));
        }
    }
    SweepEntry {
        name: name.clone(),
        axis: section.required_text("axis"),
        networks: read_names(section, "networks", defaults.networks),
        methods: read_methods(section, defaults.methods),
        dies: section.optional_integer("dies", 1..=100_000).unwrap_or(defaults.dies),
        points,
    }
}

/// One of these names.
fn read_name(section: &mut Section<'_>, key: &str, all: &[String]) -> String {
    let name = section.required_text(key);
    if !name.is_empty() && !all.contains(&name) {
        section.report(key, format!("is `{name}`, must be one of {}", all.join(", ")));
    }
    name
}

/// Some of these names in their own order; all where the key is left out.
fn read_names(section: &mut Section<'_>, key: &str, all: &[String]) -> Vec<String> {
    let given = section.has(key);
    let names = section.texts(key);
    for name in names.iter().filter(|name| !all.contains(name)) {
        section.report(key, format!("has `{name}`, must be some of {}", all.join(", ")));
    }
    all.iter().filter(|name| !given || names.contains(name)).cloned().collect()
}

fn refuse_twice(root: &Section<'_>, key: &str, names: &[String]) {
    let mut seen = BTreeSet::new();
    for name in names.iter().filter(|name| !name.is_empty() && !seen.insert(*name)) {
        root.report(key, format!("has two entries of the name `{name}`"));
    }
}

/// What a quick run keeps.
struct Quick {
    networks: Vec<String>,
    chips: Vec<String>,
    sweeps: Vec<String>,
    dies: Option<u64>,
    images: Option<usize>,
}

fn read_quick(section: &mut Section<'_>, study: &StudyFile) -> Quick {
    let names = |it: Vec<&String>| it.into_iter().cloned().collect::<Vec<_>>();
    let networks = names(study.networks.iter().map(|it| &it.name).collect());
    let chips = names(study.chips.iter().map(|it| &it.name).collect());
    let sweeps = names(study.sweeps.iter().map(|it| &it.name).collect());
    Quick {
        networks: read_names(section, "networks", &networks),
        chips: read_names(section, "chips", &chips),
        sweeps: read_names(section, "sweeps", &sweeps),
        dies: section.optional_integer("dies", 1..=100_000),
        images: section.optional_integer("images", 1..=u64::from(u32::MAX)).map(|it| it as usize),
    }
}

impl Quick {
    fn apply(self, study: &mut StudyFile) {
        let Self { networks, chips, sweeps, dies, images } = self;
        study.networks.retain(|it| networks.contains(&it.name));
        study.chips.retain(|it| chips.contains(&it.name));
        study.sweeps.retain(|it| sweeps.contains(&it.name));
        study.trained.retain(|it| {
            networks.contains(&it.network)
                && it.chip.as_ref().is_none_or(|chip| chips.contains(chip))
        });
        for sweep in &mut study.sweeps {
            sweep.networks.retain(|it| networks.contains(it));
            sweep.dies = dies.unwrap_or(sweep.dies).min(sweep.dies);
        }
        study.waterfall.0.retain(|it| networks.contains(it));
        let kept = |(network, chip, _): &(String, String, u64)| {
            networks.contains(network) && chips.contains(chip)
        };
        study.exhibit = study.exhibit.take().filter(kept);
        for network in &mut study.networks {
            network.dies = dies.unwrap_or(network.dies);
            let limit = &mut network.preprocess.limit;
            *limit = images.map(|most| limit.unwrap_or(most).min(most)).or(*limit);
        }
    }
}

/// A study of one network on two chips with two sweeps, for tests.
#[cfg(test)]
pub(super) const SMALL: &str = "\
schema = 1
kind = \"study\"
name = \"s\"
methods = [\"lab\", \"corrected\"]
dies = 3

[[network]]
name = \"n\"
model = \"bundled:lenet-digits.onnx\"
data = \"digits\"
calibration = \"digits:train\"

[[chip]]
name = \"a\"
file = \"stress-a\"
used_at = \"1y\"

[[chip]]
name = \"b\"
file = \"stress-b\"
set = { \"effects.stuck.stuck_gmin\" = 0.25 }

[[sweep]]
name = \"bits\"
axis = \"ADC bits\"
file = \"stress-b\"
keys = [\"adc.bits\"]
values = [4, 6]

[[sweep]]
name = \"age\"
axis = \"time\"
file = \"pcm-ibm\"
times = [\"1h\", \"1d\"]
refreshed = false

[quick]
chips = [\"b\"]
sweeps = [\"bits\"]
dies = 2
";

#[cfg(test)]
mod tests {
    use super::{Method, SMALL, parse_study};

    fn problems(from: &str, to: &str) -> Vec<String> {
        let text = SMALL.replace(from, to);
        assert_ne!(text, SMALL, "`{from}` does not occur");
        let problems = parse_study(&text, "s.toml", false).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_is_read_with_its_defaults() {
        let study = parse_study(SMALL, "s.toml", false).unwrap().output;
        assert_eq!(study.methods, [Method::Naive, Method::Lab, Method::Corrected]);
        assert_eq!(study.chips[0].corrected_at_s, 3.155_76e7);
        assert_eq!(study.chips[1].set, [("effects.stuck.stuck_gmin".to_owned(), 0.25)]);
        let [bits, age] = &study.sweeps[..] else { panic!("{:?}", study.sweeps) };
        assert_eq!(bits.points[1].2.set, [("adc.bits".to_owned(), 6.0)]);
        assert_eq!((bits.points[1].1.as_str(), bits.points[1].2.name.as_str()), ("6", "bits 6"));
        let last = &age.points[1].2;
        assert_eq!((last.corrected_at_s, last.used_at_s), (0.0, 86_400.0));
        assert_eq!((age.dies, &age.networks[..]), (3, &["n".to_owned()][..]));
    }

    #[test]
    fn a_network_may_have_dies_of_its_own() {
        let slow =
            "name = \"slow\"\nmodel = \"slow.onnx\"\ndata = \"d\"\ncalibration = \"c\"\ndies = 1";
        let text = SMALL.replacen("[[chip]]", &format!("[[network]]\n{slow}\n\n[[chip]]"), 1);
        let dies = |quick| {
            let study = parse_study(&text, "s.toml", quick).unwrap().output;
            study.networks.iter().map(|it| it.dies).collect::<Vec<_>>()
        };
        assert_eq!(dies(false), [3, 1]);
        assert_eq!(dies(true), [2, 2], "a quick run says how many itself");
    }

    #[test]
    fn a_quick_run_keeps_what_the_file_says() {
        let study = parse_study(SMALL, "s.toml", true).unwrap().output;
        let dies = study.networks[0].dies;
        assert_eq!((study.chips.len(), study.sweeps.len(), dies), (1, 1, 2));
        let none = SMALL.replace("sweeps = [\"bits\"]", "sweeps = []");
        assert!(parse_study(&none, "s.toml", true).unwrap().output.sweeps.is_empty());
        let text = SMALL.split("[quick]").next().unwrap();
        let missing = parse_study(text, "s.toml", true).unwrap_err();
        assert!(missing[0].message.contains("nothing of a quick run"), "{}", missing[0]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (from, to, message) in [
            (
                "\"lab\"",
                "\"lob\"",
                "s.toml:4: `methods`: has `lob`, must be some of naive, closest",
            ),
            ("name = \"b\"", "name = \"a\"", "`chip`: has two entries of the name `a`"),
            ("used_at = \"1y\"", "used_at = \"1\"", "`chip[0].used_at`: `1` needs a unit"),
            ("data = \"digits\"\n", "", "`network[0].data`: is missing"),
            ("chips = [\"b\"]", "chips = [\"c\"]", "`quick.chips`: has `c`, must be some of a, b"),
            ("axis = \"time\"\n", "", "`sweep[1].axis`: is missing"),
            ("dies = 3", "dice = 3", "did you mean `dies`?"),
        ] {
            let problems = problems(from, to);
            assert!(problems.iter().any(|it| it.contains(message)), "{message}: {problems:#?}");
        }
    }
}
