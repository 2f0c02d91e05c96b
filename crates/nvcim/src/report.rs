//! The report of a campaign: one self-contained HTML page with inline SVG, no script and no network.
//!
//! The same campaign gives the same bytes: nothing here asks for a clock, a path or a host name.
//! Each section is a file; `html`, `number` and `footprint` serve them all.

mod array;
mod corrections;
mod dies;
mod floor;
mod footprint;
mod headline;
mod html;
mod layers;
mod number;
mod origin;
pub mod study;
#[cfg(test)]
mod testing;

use nvcim_chip::describe::Chip;
use nvcim_chip::record::DieRecord;
use nvcim_image::layout::Image;

use crate::campaign::{DieOutcome, Outcome};
use crate::model::Model;
use crate::pipeline::{Compiled, hash_die};
use crate::recovery::{Summary, summarize};
use crate::simulate::{DieChoice, resolve_die};

/// What a page is about.
#[derive(Clone, Copy)]
pub struct Page<'a> {
    /// The heading.
    pub title: &'a str,
    /// The network.
    pub model: &'a Model,
    /// The chip.
    pub chip: &'a Chip,
    /// The campaign's numbers.
    pub outcome: &'a Outcome,
    /// Test images per die.
    pub images: usize,
    /// The command that made the page.
    pub command: &'a str,
}

/// Writes the whole page.
pub fn write_page(page: &Page<'_>) -> String {
    let die = page.last_die();
    let sections = [
        headline::write(page),
        dies::write(page),
        floor::write(page),
        array::write(page, die.as_ref()),
        corrections::write(page, die.as_ref()),
        layers::write(page),
        origin::write(page),
    ];
    html::document(page.title, &sections.concat())
}

/// Writes what a page shows of the last die's image alone: chip floor, one array, corrections, layers.
pub(crate) fn write_anatomy(page: &Page<'_>) -> String {
    let die = page.last_die();
    let sections = [
        floor::write(page),
        array::write(page, die.as_ref()),
        corrections::write(page, die.as_ref()),
        layers::write(page),
    ];
    sections.concat()
}

impl Page<'_> {
    /// The compilation for the last die.
    fn corrected(&self) -> &Compiled {
        &self.outcome.corrected
    }

    /// The image for the last die.
    fn image(&self) -> &Image {
        &self.outcome.corrected.image
    }

    /// Mean and spread over dies of one number; `None` without a die.
    fn summary(&self, pick: fn(&DieOutcome) -> f64) -> Option<Summary> {
        summarize(&self.outcome.dies.iter().map(pick).collect::<Vec<_>>())
    }

    /// The die that the last image was compiled for, drawn again from its seed.
    ///
    /// `None` where there was no die, or where the stamp in the image is not that of this draw.
    fn last_die(&self) -> Option<DieRecord> {
        let stamp = self.image().provenance.die.as_ref()?;
        let die = resolve_die(&self.outcome.naive.image, DieChoice::Seed(stamp.seed?));
        (hash_die(&die) == stamp.hash).then_some(die)
    }
}

#[cfg(test)]
mod tests {
    use nvcim_ir::ids::{ArrayId, Id};
    use nvcim_ir::programmed::ProgrammedTile;

    use super::testing::{Sample, check_markup};
    use super::write_page;

    #[test]
    fn the_page_is_well_formed_self_contained_and_small() {
        let page = Sample::shared().page(write_page);
        check_markup(&page);
        for outside in ["http", "//", "@import", "src=", "url("] {
            assert!(!page.contains(outside), "the page reaches out with `{outside}`");
        }
        assert!(page.len() < 500_000, "{} bytes", page.len());
    }

    #[test]
    fn a_large_network_has_a_small_page() {
        let mut sample = Sample::shared().clone();
        sample.chip.arrays.count = None;
        let net = &mut sample.outcome.corrected.image.net;
        let tiles: Vec<_> = net.tiles.iter().cloned().collect();
        net.tiles = (0..2000)
            .map(|at| ProgrammedTile { array: ArrayId::new(at), ..tiles[at % tiles.len()].clone() })
            .collect();
        let page = sample.page(write_page);
        check_markup(&page);
        assert!(page.contains("The first 256 are drawn."));
        assert!(page.contains("1\u{202f}744 more tiles are not listed."));
        assert!(page.len() < 500_000, "{} bytes", page.len());
    }

    #[test]
    fn the_same_campaign_gives_the_same_bytes() {
        let first = Sample::shared().page(write_page);
        assert!(first == Sample::run().page(write_page), "two runs differ");
    }

    #[test]
    fn sections_come_in_order() {
        let page = Sample::shared().page(write_page);
        let ids = ["headline", "dies", "floor", "array", "corrections", "layers", "origin"];
        let places: Vec<_> =
            ids.iter().map(|id| page.find(&format!("<section id=\"{id}\">"))).collect();
        assert!(places.iter().all(Option::is_some), "{places:?}");
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn names_cannot_break_out() {
        let name = "<script>\"a\" & 'b'</script>";
        let mut sample = Sample::shared().clone();
        name.clone_into(&mut sample.model.name);
        name.clone_into(&mut sample.chip.name);
        name.clone_into(&mut sample.chip.description);
        for layer in sample.outcome.corrected.image.net.layers.iter_mut() {
            name.clone_into(&mut layer.name);
        }
        let page =
            sample.page(|page| write_page(&super::Page { title: name, command: name, ..*page }));
        check_markup(&page);
        assert!(!page.contains("<script"));
        let escaped = "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;";
        assert!(page.matches(escaped).count() > 10);
    }

    #[test]
    fn a_campaign_without_dies_or_measurements_has_a_page() {
        let mut sample = Sample::shared().clone();
        sample.outcome.dies.clear();
        sample.outcome.recovery = None;
        sample.outcome.corrected = sample.outcome.naive.clone();
        let page = sample.page(write_page);
        check_markup(&page);
        assert!(page.contains("No die was simulated"));
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }
}
