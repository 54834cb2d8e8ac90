//! From the name of a GPU to what it says.

use super::board;
use super::{FormFactor, GpuModel, Partition, Vendor};

/// The accelerator labels of GKE that do not tell the board by themselves: its machines with these
/// GPUs all have one board (see the GPU platforms of Compute Engine).
const GKE_LABELS: [(&str, &str); 6] = [
    ("nvidia-tesla-p100", "P100-PCIe-16GB"),
    ("nvidia-tesla-v100", "V100-SXM-16GB"),
    ("nvidia-tesla-a100", "A100-SXM-40GB"),
    ("nvidia-a100-80gb", "A100-SXM-80GB"),
    ("nvidia-h100-80gb", "H100-SXM-80GB"),
    ("nvidia-h100-mega-80gb", "H100-SXM-80GB"),
];

/// Product lines and editions, which tell nothing that the rest of a name does not.
const DECORATION: [&str; 10] = [
    "tesla",
    "geforce",
    "quadro",
    "instinct",
    "radeon",
    "blackwell",
    "generation",
    "server",
    "workstation",
    "edition",
];

/// What Kubernetes resources are called that stand for any GPU of their vendor.
const ANY_GPU: [&str; 4] = ["gpu", "gaudi", "i915", "xe"];

pub(super) fn read(name: &str) -> GpuModel {
    let name = GKE_LABELS.iter().find(|(label, _)| *label == name).map_or(name, |(_, full)| full);
    let mut said = Words::default();
    let rest = match name.split_once('/') {
        Some((domain, resource)) => {
            said.vendor = domain.split('.').find_map(vendor);
            if ANY_GPU.contains(&resource) { "" } else { resource }
        }
        None => name,
    };
    rest.split(|c: char| c.is_whitespace() || "-_/".contains(c))
        .filter(|word| !word.is_empty())
        .for_each(|word| said.hear(word));
    said.conclude()
}

/// The words of a name, by what they tell.
#[derive(Default)]
struct Words {
    vendor: Option<Vendor>,
    form: Option<FormFactor>,
    gigabytes: Option<u32>,
    /// Whether a kind of high-bandwidth memory is named.
    stacked_memory: bool,
    partition: Partition,
    /// What is left, which is the family.
    family: Vec<String>,
}

impl Words {
    fn hear(&mut self, word: &str) {
        let lower = word.to_ascii_lowercase();
        if let Some(vendor) = vendor(&lower) {
            self.vendor = Some(vendor);
        } else if let Some(form) = form(&lower) {
            self.form = Some(form);
        } else if let Some(gigabytes) = gigabytes(&lower) {
            self.gigabytes = Some(gigabytes);
        } else if let Some(profile) = mig_profile(&lower) {
            self.partition = Partition::Mig(profile);
        } else if lower == "shared" {
            self.partition = Partition::TimeSlice;
        } else if ["hbm2", "hbm2e", "hbm3", "hbm3e"].contains(&&*lower) {
            self.stacked_memory = true;
        } else if lower != "mig" && !DECORATION.contains(&&*lower) {
            self.family.push(word.to_ascii_uppercase());
        }
    }

    fn conclude(self) -> GpuModel {
        let Self { vendor, mut form, mut gigabytes, stacked_memory, partition, family } = self;
        let name = family.join("-");
        if name.is_empty() || name == "GPU" {
            return GpuModel { vendor, family: None, form, gigabytes, partition };
        }
        let Some(known) = board::family_named(&name) else {
            return GpuModel { vendor, family: Some(name), form, gigabytes, partition };
        };
        match known.name {
            // "NVIDIA H100 80GB HBM3" is the module; the cards have their form in their names.
            "H100" | "H800" if stacked_memory => form = form.or(Some(FormFactor::Sxm)),
            // "NVIDIA GH200 480GB" counts the memory of its CPU.
            "GH200" if gigabytes == Some(480) => gigabytes = Some(96),
            _ => {}
        }
        let (form, gigabytes) = known.complete(form, gigabytes);
        let (vendor, family) = (Some(known.vendor), Some(known.name.to_owned()));
        GpuModel { vendor, family, form, gigabytes, partition }
    }
}

fn vendor(word: &str) -> Option<Vendor> {
    match word {
        "nvidia" => Some(Vendor::Nvidia),
        "amd" => Some(Vendor::Amd),
        "intel" | "habana" => Some(Vendor::Intel),
        _ => None,
    }
}

fn form(word: &str) -> Option<FormFactor> {
    match word {
        "pcie" => Some(FormFactor::Pcie),
        "nvl" => Some(FormFactor::Nvl),
        "oam" => Some(FormFactor::Oam),
        _ => {
            let generation = word.strip_prefix("sxm")?;
            generation.chars().all(|c| c.is_ascii_digit()).then_some(FormFactor::Sxm)
        }
    }
}

fn gigabytes(word: &str) -> Option<u32> {
    let number = word.strip_suffix("gib").or(word.strip_suffix("gb")).or(word.strip_suffix('g'))?;
    // `parse` takes a sign, which no size has.
    number.chars().all(|c| c.is_ascii_digit()).then(|| number.parse().ok())?
}

/// The profile of a MIG instance, such as `1g.5gb` or, with media engines, `1g.5gb.me`. A label
/// cannot hold the `+` that NVIDIA writes before `me`.
fn mig_profile(word: &str) -> Option<String> {
    let profile = word.strip_prefix("mig.").unwrap_or(word).replace('+', ".");
    let mut parts = profile.split('.');
    let slices = parts.next()?.strip_suffix('g')?;
    let memory = parts.next()?.strip_suffix("gb")?;
    let numbers = [slices, memory]
        .into_iter()
        .all(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()));
    let attributes = parts.all(|part| !part.is_empty());
    (numbers && attributes).then_some(profile)
}
