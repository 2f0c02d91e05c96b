//! The closed list of sections, in the order in which they stand in the file.

/// A section of version 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// How the image came to be: one record.
    Provenance,
    /// The canonical chip description and its hash: one record.
    Chip,
    /// The digital program: one record per step.
    Steps,
    /// The steps that are the network's outputs: one record.
    Outputs,
    /// Constants of the digital program: one record each.
    Constants,
    /// Matrix layers: one record each.
    Layers,
    /// Tiles: one record each.
    Tiles,
}

impl Kind {
    /// Every section, in file order.
    pub(crate) const ALL: [Kind; 7] = [
        Kind::Provenance,
        Kind::Chip,
        Kind::Steps,
        Kind::Outputs,
        Kind::Constants,
        Kind::Layers,
        Kind::Tiles,
    ];

    /// The number in the section table.
    pub(crate) const fn id(self) -> u32 {
        self as u32 + 1
    }

    /// The name in messages and in the format's description.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Provenance => "provenance",
            Kind::Chip => "chip",
            Kind::Steps => "steps",
            Kind::Outputs => "outputs",
            Kind::Constants => "constants",
            Kind::Layers => "layers",
            Kind::Tiles => "tiles",
        }
    }

    /// The most bytes that one record may take: generous for what is plausible, small for what is hostile.
    pub(crate) const fn record_limit(self) -> usize {
        const KIB: usize = 1 << 10;
        const MIB: usize = 1 << 20;
        match self {
            // Names, hashes and a few dozen attributes.
            Kind::Provenance | Kind::Steps | Kind::Outputs => 64 * KIB,
            // A description with every key and its source is a few kilobytes of text.
            Kind::Chip => MIB,
            // 64 M values: twice the largest classifier in use.
            Kind::Constants => 256 * MIB,
            // A million output columns.
            Kind::Layers => 4 * MIB,
            // Every cell of an 8192x8192 array in f32, and as much for wiring and readouts as a
            // thousandth of that; a tile has no more cells than its array.
            Kind::Tiles => 257 * MIB,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn the_page_gives_the_limit_of_every_section() {
        let page = include_str!("../../../docs/image-format.md");
        for kind in Kind::ALL {
            let start = format!("| {} | `{}` |", kind.id(), kind.name());
            let row = page.lines().find(|line| line.starts_with(&start)).unwrap();
            assert!(row.ends_with(&format!("| {} |", kind.record_limit())), "{row}");
        }
    }
}
