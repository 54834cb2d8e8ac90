//! The order of the operator's modules.

use std::path::Path;

#[path = "../../../optimizer/tests/it/layering/source.rs"]
mod source;

#[test]
fn modules_use_only_those_above_them() {
    let (order, files) = source::read_crate(Path::new(env!("CARGO_MANIFEST_DIR")));
    let violations: Vec<_> = files.iter().flat_map(|file| order.violations(file)).collect();
    assert_eq!(violations, [""; 0]);
}
