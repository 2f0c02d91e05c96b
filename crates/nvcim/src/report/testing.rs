//! What tests of the report share: a small real campaign, and a check that markup is well formed.

use std::sync::LazyLock;

use nvcim_chip::describe::Chip;
use nvcim_chip::effects::EffectSet;
use nvcim_chip::presets;
use nvcim_chip::record::DieRecord;
use nvcim_correct::plan::Plan;
use nvcim_sim::conditions::Conditions;

use super::Page;
use crate::campaign::{Campaign, Outcome};
use crate::data::{Dataset, Preprocess};
use crate::demo;
use crate::model::Model;

/// Elements without content.
const VOID: [&str; 6] = ["br", "circle", "line", "link", "meta", "rect"];

/// The demonstration on few images and two dies, with what a page of it needs.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) model: Model,
    pub(super) chip: Chip,
    pub(super) outcome: Outcome,
    images: usize,
}

impl Sample {
    /// Runs the campaign.
    pub(super) fn run() -> Self {
        let model = Model::from_bytes(demo::MODEL.0, demo::MODEL.1);
        let chip = presets::find_preset(demo::CHIP).unwrap();
        let open = |spec: &str, limit: usize| {
            Dataset::open(spec, Preprocess { limit: Some(limit), ..Preprocess::default() }).unwrap()
        };
        let data = open("digits", 40);
        let calibration = open("digits:train", 32).head(32, &model.input_shape().unwrap()).unwrap();
        let campaign = Campaign {
            model: &model,
            chip: &chip,
            calibration: &calibration,
            data: &data,
            plan: Plan::LAB,
            conditions: Conditions {
                effects: EffectSet::ALL,
                at_s: 0.0,
                extrapolate: false,
                run_seed: 0,
            },
            dies: 2,
        };
        let outcome = campaign.run(&|_| ()).unwrap();
        Self { model, chip, outcome, images: data.len() }
    }

    /// One campaign for all tests that only read it.
    pub(super) fn shared() -> &'static Self {
        static SAMPLE: LazyLock<Sample> = LazyLock::new(Sample::run);
        &SAMPLE
    }

    /// What `read` makes of a page about this campaign.
    pub(super) fn page<T>(&self, read: impl Fn(&Page<'_>) -> T) -> T {
        let Self { model, chip, outcome, images } = self;
        read(&Page {
            title: "A title",
            model,
            chip,
            outcome,
            images: *images,
            command: "nvcim demo",
        })
    }

    /// The die that the last image was compiled for.
    pub(super) fn last_die(&self) -> DieRecord {
        self.page(|page| page.last_die().expect("the die of a seed can be drawn again"))
    }
}

/// Checks that tags nest and close, attributes are quoted, and every `&` begins an entity.
///
/// # Panics
/// Otherwise, with what stands there.
pub(super) fn check_markup(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>").unwrap_or(html);
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start]);
        let (tag, after) = rest[start + 1..].split_once('>').expect("a tag without its end");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in the wrong order");
            continue;
        }
        let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "<{tag}>"
        );
        check_attributes(attributes);
        let may_be_empty = VOID.contains(&name) || name == "path";
        assert!(!empty || may_be_empty, "<{tag}/> has content by its nature");
        assert!(empty || !VOID.contains(&name), "<{tag}> has none, and is not closed");
        if !empty {
            open.push(name);
        }
    }
    check_text(rest);
    assert!(open.is_empty(), "left open: {open:?}");
}

fn check_text(text: &str) {
    for entity in text.split('&').skip(1) {
        let name = entity.split(';').next().unwrap_or_default();
        assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "`&{name}` is no entity");
    }
}

fn check_attributes(attributes: &str) {
    let mut rest = attributes.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("`{rest}`"));
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "`{name}`");
        let (value, after) = after.split_once('"').unwrap_or_else(|| panic!("`{rest}`"));
        check_text(value);
        rest = after.trim_start();
    }
}

#[test]
fn the_check_sees_what_is_wrong() {
    let wrong = [
        "<p>",
        "</p>",
        "<p><b></p></b>",
        "<p a=1></p>",
        "a & b",
        "<br>",
        "<div/>",
        "<p a=\"&\"></p>",
    ];
    for html in wrong {
        let caught = std::panic::catch_unwind(|| check_markup(html));
        assert!(caught.is_err(), "`{html}` passed");
    }
    check_markup("<!DOCTYPE html><p class=\"a b\" id=\"c\">&lt;<br/><b>x</b></p>");
}
