//! What a GPU is, whatever it is called.
//!
//! Node labels, device plugins, cloud providers and people spell the same board in many ways:
//! `NVIDIA-H100-80GB-HBM3`, `nvidia-h100-80gb`, `H100`. A [`GpuModel`] is what such a name says:
//! the family, and where it says so the form factor, the memory and the slice. Names are compared
//! by what they say and never as text, so an `H100` that a quota limits is the H100 that a node
//! has, and an A100 with 40 GB is never taken for one with 80.
//!
//! ```
//! use optimizer::gpu::GpuModel;
//!
//! let node = GpuModel::named("NVIDIA-A100-SXM4-80GB");
//! assert_eq!(node.to_string(), "A100");
//! assert_eq!(format!("{node:#}"), "A100-SXM-80GB");
//! assert!(node.matches(&GpuModel::named("A100")));
//! assert!(!node.matches(&GpuModel::named("NVIDIA-A100-PCIE-40GB")));
//! ```

mod board;
mod name;

use std::fmt;

use crate::id::AcceleratorId;
use crate::units::Bytes;

/// A kind of GPU, as far as a name tells it.
///
/// What the name leaves open stays open, unless the family has only one board that fits: an L40S
/// has 48 GB, said or not, and an A100 has 40 or 80.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GpuModel {
    vendor: Option<Vendor>,
    family: Option<String>,
    form: Option<FormFactor>,
    gigabytes: Option<u32>,
    partition: Partition,
}

/// Who makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vendor {
    /// NVIDIA.
    Nvidia,
    /// AMD.
    Amd,
    /// Intel, Habana included.
    Intel,
}

/// How the board is built, which decides its power, its clocks and its links to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FormFactor {
    /// A card in a PCI Express slot.
    Pcie,
    /// NVIDIA's module, of whatever generation: the family tells that.
    Sxm,
    /// A PCI Express card that is bridged to another by NVLink.
    Nvl,
    /// The module of the Open Compute Project.
    Oam,
}

/// How much of a board it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Partition {
    /// All of it.
    #[default]
    Whole,
    /// An instance of NVIDIA's multi-instance GPU, by its profile, such as `1g.5gb`.
    Mig(String),
    /// A turn on a board that several pods share, which promises no share of it.
    TimeSlice,
}

impl GpuModel {
    /// What `name` says. Every text says something: one that is not understood names a family of
    /// its own, in capitals.
    ///
    /// The spellings that are understood are the product labels of NVIDIA's GPU feature discovery
    /// and AMD's node labeller, the accelerator labels of GKE, the resource names of device plugins
    /// (which name a vendor or a slice, but no family), Gaudi's board numbers, and short names.
    #[must_use]
    pub fn named(name: &str) -> Self {
        name::read(name)
    }

    /// Whether the two may be the same kind: they differ in nothing that both say. A slice is never
    /// a whole GPU.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        agree(self.vendor.as_ref(), other.vendor.as_ref())
            && agree(self.family.as_ref(), other.family.as_ref())
            && agree(self.form.as_ref(), other.form.as_ref())
            && agree(self.gigabytes.as_ref(), other.gigabytes.as_ref())
            && self.partition == other.partition
    }

    /// Whether it is of a family that this crate knows, so that a kind that does not match it is
    /// certainly another one.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.family.as_deref().is_some_and(|family| board::family_named(family).is_some())
    }

    /// The vendor.
    pub const fn vendor(&self) -> Option<Vendor> {
        self.vendor
    }

    /// The family, such as `H100`; `None` where the name was a vendor's or a resource's.
    pub fn family(&self) -> Option<&str> {
        self.family.as_deref()
    }

    /// How the board is built.
    pub const fn form(&self) -> Option<FormFactor> {
        self.form
    }

    /// The memory of the whole board, as its product name rounds it: 80 GB are 80·10⁹ bytes.
    pub fn memory(&self) -> Option<Bytes> {
        self.gigabytes.map(|gigabytes| Bytes::new(u64::from(gigabytes) * 1_000_000_000))
    }

    /// How much of the board it is.
    pub const fn partition(&self) -> &Partition {
        &self.partition
    }
}

fn agree<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a == b)
}

impl From<&AcceleratorId> for GpuModel {
    fn from(accelerator: &AcceleratorId) -> Self {
        Self::named(accelerator.as_str())
    }
}

impl fmt::Display for GpuModel {
    /// The short name, such as `H100` or `A100-MIG-1g.5gb`. The alternate form (`{:#}`) is all that
    /// is known, such as `H100-SXM-80GB`, and names the same model when it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = f.alternate();
        // The family tells the vendor where it is known.
        let vendor = self.vendor.filter(|_| self.family.is_none() || full && !self.is_known());
        if let Some(vendor) = vendor {
            write!(f, "{vendor}-")?;
        }
        f.write_str(self.family.as_deref().unwrap_or("GPU"))?;
        if let Some(form) = self.form.filter(|_| full) {
            write!(f, "-{form}")?;
        }
        if let Some(gigabytes) = self.gigabytes.filter(|_| full) {
            write!(f, "-{gigabytes}GB")?;
        }
        match &self.partition {
            Partition::Whole => Ok(()),
            Partition::Mig(profile) => write!(f, "-MIG-{profile}"),
            Partition::TimeSlice => f.write_str("-SHARED"),
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nvidia => "NVIDIA",
            Self::Amd => "AMD",
            Self::Intel => "Intel",
        })
    }
}

impl fmt::Display for FormFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pcie => "PCIe",
            Self::Sxm => "SXM",
            Self::Nvl => "NVL",
            Self::Oam => "OAM",
        })
    }
}

#[cfg(test)]
mod tests;
