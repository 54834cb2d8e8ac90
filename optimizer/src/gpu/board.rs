//! The boards that exist, by family, from the vendors' data sheets.

use super::FormFactor::{self, Nvl, Oam, Pcie, Sxm};
use super::Vendor::{self, Amd, Intel, Nvidia};

/// GPUs that are called the same, and run the same code at about the same speed.
#[derive(Debug)]
pub(super) struct Family {
    /// The name, as people write it.
    pub(super) name: &'static str,
    pub(super) vendor: Vendor,
    /// Other names, in lower case and without separators.
    other_names: &'static [&'static str],
    boards: &'static [Board],
}

/// One product of a family: how it is built, and its memory in gigabytes.
type Board = (Option<FormFactor>, u32);

const fn family(
    vendor: Vendor,
    name: &'static str,
    other_names: &'static [&'static str],
    boards: &'static [Board],
) -> Family {
    Family { name, vendor, other_names, boards }
}

#[rustfmt::skip]
const FAMILIES: [Family; 47] = [
    family(Nvidia, "P4", &[], &[(Some(Pcie), 8)]),
    family(Nvidia, "P40", &[], &[(Some(Pcie), 24)]),
    family(Nvidia, "P100", &[], &[(Some(Pcie), 12), (Some(Pcie), 16), (Some(Sxm), 16)]),
    family(Nvidia, "V100", &[], &[(Some(Pcie), 16), (Some(Pcie), 32), (Some(Sxm), 16), (Some(Sxm), 32)]),
    family(Nvidia, "V100S", &[], &[(Some(Pcie), 32)]),
    family(Nvidia, "T4", &[], &[(Some(Pcie), 16)]),
    family(Nvidia, "A2", &[], &[(Some(Pcie), 16)]),
    family(Nvidia, "A10", &[], &[(Some(Pcie), 24)]),
    family(Nvidia, "A10G", &[], &[(Some(Pcie), 24)]),
    family(Nvidia, "A16", &[], &[(Some(Pcie), 16)]),
    family(Nvidia, "A30", &[], &[(Some(Pcie), 24)]),
    family(Nvidia, "A40", &[], &[(Some(Pcie), 48)]),
    family(Nvidia, "A100", &[], &[(Some(Pcie), 40), (Some(Pcie), 80), (Some(Sxm), 40), (Some(Sxm), 80)]),
    family(Nvidia, "A800", &[], &[(Some(Pcie), 40), (Some(Pcie), 80), (Some(Sxm), 80)]),
    family(Nvidia, "L4", &[], &[(Some(Pcie), 24)]),
    family(Nvidia, "L20", &[], &[(Some(Pcie), 48)]),
    family(Nvidia, "L40", &[], &[(Some(Pcie), 48)]),
    family(Nvidia, "L40S", &[], &[(Some(Pcie), 48)]),
    family(Nvidia, "H20", &[], &[(Some(Sxm), 96), (Some(Sxm), 141)]),
    family(Nvidia, "H100", &[], &[(Some(Pcie), 80), (Some(Sxm), 64), (Some(Sxm), 80), (Some(Sxm), 94), (Some(Nvl), 94)]),
    family(Nvidia, "H800", &[], &[(Some(Pcie), 80), (Some(Sxm), 80)]),
    family(Nvidia, "H200", &[], &[(Some(Sxm), 141), (Some(Nvl), 141)]),
    family(Nvidia, "GH200", &[], &[(None, 96), (None, 144)]),
    family(Nvidia, "B200", &[], &[(Some(Sxm), 180)]),
    family(Nvidia, "B300", &[], &[(Some(Sxm), 288)]),
    family(Nvidia, "GB200", &["gb200nvl72"], &[(None, 186)]),
    family(Nvidia, "GB300", &["gb300nvl72"], &[(None, 288)]),
    family(Nvidia, "RTX-3090", &[], &[(Some(Pcie), 24)]),
    family(Nvidia, "RTX-4090", &[], &[(Some(Pcie), 24)]),
    family(Nvidia, "RTX-5090", &[], &[(Some(Pcie), 32)]),
    family(Nvidia, "RTX-A5000", &["a5000"], &[(Some(Pcie), 24)]),
    family(Nvidia, "RTX-A6000", &["a6000"], &[(Some(Pcie), 48)]),
    family(Nvidia, "RTX-6000-Ada", &["6000ada"], &[(Some(Pcie), 48)]),
    family(Nvidia, "RTX-PRO-6000", &["rtx6000pro"], &[(Some(Pcie), 96)]),
    family(Amd, "MI100", &[], &[(Some(Pcie), 32)]),
    family(Amd, "MI210", &[], &[(Some(Pcie), 64)]),
    family(Amd, "MI250", &[], &[(Some(Oam), 128)]),
    family(Amd, "MI250X", &[], &[(Some(Oam), 128)]),
    family(Amd, "MI300A", &[], &[(None, 128)]),
    family(Amd, "MI300X", &["mi300xvf", "mi300xhf"], &[(Some(Oam), 192)]),
    family(Amd, "MI325X", &["mi325xvf"], &[(Some(Oam), 256)]),
    family(Amd, "MI350X", &[], &[(Some(Oam), 288)]),
    family(Amd, "MI355X", &[], &[(Some(Oam), 288)]),
    // A Gaudi is called by its generation, by its board (HL-2xx), or by the chart's short name.
    family(Intel, "Gaudi", &["hl200", "hl205"], &[(Some(Pcie), 32), (Some(Oam), 32)]),
    family(Intel, "Gaudi-2", &["g2", "hl225", "hl225b", "hl225c", "hl225d", "hl225h"], &[(Some(Oam), 96)]),
    family(Intel, "Gaudi-3", &["g3", "hl325", "hl325l", "hl335", "hl338"], &[(Some(Oam), 128), (Some(Pcie), 128)]),
    family(Intel, "Max-1550", &["datacentergpumax1550"], &[(Some(Oam), 128)]),
];

/// The family of this name, in any case and with any separators.
pub(super) fn family_named(name: &str) -> Option<&'static Family> {
    let is_called = |other: &str| letters(other).eq(letters(name));
    FAMILIES.iter().find(|family| {
        is_called(family.name) || family.other_names.iter().any(|other| is_called(other))
    })
}

/// The letters and digits of a name, in lower case.
fn letters(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().filter(u8::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase())
}

impl Family {
    /// What a name of this family leaves open, where all boards that fit it agree. What fits no
    /// board stays as it is: there may be boards that this list lacks.
    pub(super) fn complete(
        &self,
        form: Option<FormFactor>,
        gigabytes: Option<u32>,
    ) -> (Option<FormFactor>, Option<u32>) {
        let fitting = || {
            self.boards.iter().filter(move |(of_board, memory)| {
                form.is_none_or(|form| *of_board == Some(form))
                    && gigabytes.is_none_or(|gigabytes| *memory == gigabytes)
            })
        };
        let forms = fitting().map(|(form, _)| *form);
        let memories = fitting().map(|(_, memory)| *memory);
        (form.or_else(|| only(forms).flatten()), gigabytes.or_else(|| only(memories)))
    }
}

/// The item, if all are equal.
fn only<T: PartialEq>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.all(|item| item == first).then_some(first)
}
