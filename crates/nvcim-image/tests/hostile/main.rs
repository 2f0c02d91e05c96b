//! Hostile lengths everywhere: no panic, and no memory on the word of a file.
//!
//! A test of its own process, because it watches how far the process's address space grows.

mod reseal;

use nvcim_image::codec::{decode_image, list_sections};

/// More than decoding a few kilobytes ever needs, much less than any of the lengths below stands for.
const ALLOWANCE_KIB: u64 = 16 << 10;

/// The most address space that this process ever had, in KiB; `None` where the system does not say.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| {
        line.strip_prefix("VmPeak:")?.trim().strip_suffix("kB")?.trim().parse().ok()
    })
}

/// Puts hostile numbers on every place of every section, and of the table, with all checksums in order.
#[test]
fn no_number_makes_the_decoder_panic_or_allocate() {
    let golden: [&[u8]; 2] =
        [include_bytes!("../golden/v3.nvcim"), include_bytes!("../golden/v3-siemens.nvcim")];
    let values = [u64::MAX, (1 << 40) | (1 << 31), 1 << 28, 1 << 15];
    for bytes in golden {
        decode_image(bytes).unwrap();
        let before = peak_kib();
        let chip = list_sections(bytes).unwrap().remove(1);
        let chip = chip.offset as usize..(chip.offset + chip.length) as usize;
        let mut refused = 0;
        for at in (8..bytes.len() - 40).filter(|at| !chip.contains(at)) {
            for value in values {
                for width in [4, 8] {
                    let mut forged = bytes.to_vec();
                    forged[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
                    reseal::reseal(&mut forged);
                    // Some places hold numbers or names, which any value suits.
                    refused += u32::from(decode_image(&forged).is_err());
                }
            }
        }
        assert!(refused > 10_000, "{refused}");
        if let (Some(before), Some(after)) = (before, peak_kib()) {
            assert!(after - before < ALLOWANCE_KIB, "grew by {} KiB", after - before);
        }
    }
}
