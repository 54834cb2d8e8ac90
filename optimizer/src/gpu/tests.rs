use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(name: &str, short: &str, full: &str) {
    let model = GpuModel::named(name);
    assert_eq!(
        (model.to_string().as_str(), format!("{model:#}").as_str()),
        (short, full),
        "{name}"
    );
}

/// Product labels of NVIDIA's GPU feature discovery, as its nodes carry them.
#[test]
fn nvidia_product_labels() {
    check("NVIDIA-H100-80GB-HBM3", "H100", "H100-SXM-80GB");
    check("NVIDIA-H100-PCIe", "H100", "H100-PCIe-80GB");
    check("NVIDIA-H100-NVL", "H100", "H100-NVL-94GB");
    check("NVIDIA-A100-SXM4-80GB", "A100", "A100-SXM-80GB");
    check("NVIDIA-A100-PCIE-40GB", "A100", "A100-PCIe-40GB");
    check("NVIDIA-A100-80GB-PCIe", "A100", "A100-PCIe-80GB");
    check("NVIDIA-H200", "H200", "H200-141GB");
    check("NVIDIA-H200-NVL", "H200", "H200-NVL-141GB");
    check("NVIDIA-GH200-480GB", "GH200", "GH200-96GB");
    check("NVIDIA-GH200-144G-HBM3e", "GH200", "GH200-144GB");
    check("NVIDIA-B200", "B200", "B200-SXM-180GB");
    check("NVIDIA-L40S", "L40S", "L40S-PCIe-48GB");
    check("NVIDIA-L4", "L4", "L4-PCIe-24GB");
    check("Tesla-T4", "T4", "T4-PCIe-16GB");
    check("Tesla-V100-SXM2-32GB", "V100", "V100-SXM-32GB");
    check("NVIDIA-GeForce-RTX-4090", "RTX-4090", "RTX-4090-PCIe-24GB");
    check("NVIDIA-RTX-A6000", "RTX-A6000", "RTX-A6000-PCIe-48GB");
    check("NVIDIA-RTX-6000-Ada-Generation", "RTX-6000-Ada", "RTX-6000-Ada-PCIe-48GB");
    check("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "RTX-PRO-6000", "RTX-PRO-6000-PCIe-96GB");
}

#[test]
fn slices() {
    check("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "A100-MIG-1g.5gb", "A100-SXM-40GB-MIG-1g.5gb");
    check(
        "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb.me",
        "H100-MIG-1g.10gb.me",
        "H100-SXM-80GB-MIG-1g.10gb.me",
    );
    check(
        "NVIDIA H100 PCIe MIG 1g.10gb+me",
        "H100-MIG-1g.10gb.me",
        "H100-PCIe-80GB-MIG-1g.10gb.me",
    );
    check("nvidia.com/mig-1g.5gb", "NVIDIA-GPU-MIG-1g.5gb", "NVIDIA-GPU-MIG-1g.5gb");
    check("NVIDIA-A100-SXM4-40GB-SHARED", "A100-SHARED", "A100-SXM-40GB-SHARED");
    let slice = GpuModel::named("nvidia.com/mig-1g.5gb");
    assert!(slice.matches(&GpuModel::named("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb")));
    assert!(!slice.matches(&GpuModel::named("NVIDIA-A100-SXM4-40GB")));
    assert_eq!(slice.partition(), &Partition::Mig("1g.5gb".to_owned()));
}

#[test]
fn labels_of_gke() {
    check("nvidia-tesla-t4", "T4", "T4-PCIe-16GB");
    check("nvidia-l4", "L4", "L4-PCIe-24GB");
    check("nvidia-tesla-a100", "A100", "A100-SXM-40GB");
    check("nvidia-a100-80gb", "A100", "A100-SXM-80GB");
    check("nvidia-h100-80gb", "H100", "H100-SXM-80GB");
    check("nvidia-h100-mega-80gb", "H100", "H100-SXM-80GB");
    check("nvidia-h200-141gb", "H200", "H200-141GB");
    check("nvidia-gb200", "GB200", "GB200-186GB");
    check("nvidia-rtx-pro-6000", "RTX-PRO-6000", "RTX-PRO-6000-PCIe-96GB");
}

#[test]
fn amd_and_intel() {
    check("AMD-Instinct-MI300X-OAM", "MI300X", "MI300X-OAM-192GB");
    check("AMD_Instinct_MI250", "MI250", "MI250-OAM-128GB");
    check("AMD_Instinct_MI300X_VF", "MI300X", "MI300X-OAM-192GB");
    check("Intel-Gaudi-2-96GB", "Gaudi-2", "Gaudi-2-OAM-96GB");
    for name in ["Gaudi2", "gaudi-2", "Gaudi_2", "G2", "HL-225", "HL-225H"] {
        assert_eq!(GpuModel::named(name), GpuModel::named("Intel-Gaudi-2-96GB"), "{name}");
    }
    check("Gaudi3", "Gaudi-3", "Gaudi-3-128GB");
    check("Intel-Data-Center-GPU-Max-1550", "Max-1550", "Max-1550-OAM-128GB");
    check("AMD-Instinct", "AMD-GPU", "AMD-GPU");
}

#[test]
fn resources_of_device_plugins_stand_for_any_gpu_of_their_vendor() {
    for (resource, yes, no) in [
        ("nvidia.com/gpu", "H100", "MI300X"),
        ("amd.com/gpu", "MI300X", "H100"),
        ("habana.ai/gaudi", "Gaudi-3", "H100"),
        ("gpu.intel.com/i915", "Max-1550", "MI300X"),
    ] {
        let any = GpuModel::named(resource);
        assert_eq!(any.family(), None, "{resource}");
        assert!(any.matches(&GpuModel::named(yes)), "{resource} {yes}");
        assert!(!any.matches(&GpuModel::named(no)), "{resource} {no}");
    }
}

/// Vectors G13 of the workload-variant-autoscaler 0.5, which takes the second word of a name. That
/// makes "GPU" of the last, "Instinct" of every GPU of that line and "tesla" of a T4 on GKE; a name
/// that says nothing keeps all of its words here, so that two of them do not become one kind.
#[test]
fn g13_short_names() {
    for (name, short) in [
        ("NVIDIA-A100-PCIE-80GB", "A100"),
        ("NVIDIA-H100-SXM5-80GB", "H100"),
        ("NVIDIA-L40S-48GB", "L40S"),
        ("AMD-MI300X-192G", "MI300X"),
        ("Intel-Gaudi-2-96GB", "Gaudi-2"),
        ("A100", "A100"),
        ("nvidia-A100-PCIE-80GB", "A100"),
        ("Unknown-GPU-Model-123", "UNKNOWN-GPU-MODEL-123"),
    ] {
        assert_eq!(GpuModel::named(name).to_string(), short, "{name}");
    }
    assert!(!GpuModel::named("Unknown-GPU-Model-123").is_known());
}

/// Defect D7 of the workload-variant-autoscaler 0.9: these collapse there.
#[test]
fn boards_stay_distinct() {
    let names = [
        "NVIDIA-H100-80GB-HBM3",
        "NVIDIA-H100-PCIe",
        "NVIDIA-H100-NVL",
        "NVIDIA-A100-SXM4-40GB",
        "NVIDIA-A100-SXM4-80GB",
        "NVIDIA-A100-PCIE-40GB",
        "NVIDIA-A100-80GB-PCIe",
    ];
    for a in names {
        for b in names {
            assert_eq!(GpuModel::named(a).matches(&GpuModel::named(b)), a == b, "{a} {b}");
        }
        let short = GpuModel::named(&a[7..11]);
        assert!(short.matches(&GpuModel::named(a)), "{a}");
    }
}

#[test]
fn memory_is_counted_as_product_names_do() {
    assert_eq!(GpuModel::named("L40S").memory(), Some(Bytes::new(48_000_000_000)));
    assert_eq!(GpuModel::named("A100").memory(), None);
    assert_eq!(GpuModel::named("L40S-24GB").memory(), Some(Bytes::new(24_000_000_000)));
    assert!(!GpuModel::named("L40S-24GB").matches(&GpuModel::named("L40S")));
}

/// Words that GPUs are named with, and some that they are not.
fn name() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "NVIDIA",
            "amd",
            "H100",
            "A100",
            "gpu",
            "GPU",
            "80GB",
            "40g",
            "SXM4",
            "PCIe",
            "NVL",
            "HBM3",
            "MIG",
            "1g.5gb",
            "1g.5gb+me",
            "SHARED",
            "Gaudi",
            "2",
            "RTX",
            "4090",
            "tesla",
            "GH200",
            "480GB",
            "nvidia.com/",
            "mig",
            "Instinct",
            "foo",
            "X9",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,4}",
    ];
    prop::collection::vec(word, 0..5).prop_map(|words| words.join("-"))
}

proptest! {
    #[test]
    fn every_text_names_something_and_the_full_name_names_the_same(name in name()) {
        let model = GpuModel::named(&name);
        prop_assert_eq!(&GpuModel::named(&format!("{model:#}")), &model);
        prop_assert!(model.matches(&model));
        let short = GpuModel::named(&model.to_string());
        prop_assert_eq!(short.family(), model.family());
        prop_assert_eq!(short.partition(), model.partition());
    }

    #[test]
    fn matching_has_no_direction(a in name(), b in name()) {
        let (a, b) = (GpuModel::named(&a), GpuModel::named(&b));
        prop_assert_eq!(a.matches(&b), b.matches(&a));
        prop_assert!(a != b || a.matches(&b));
    }
}
