//! x
/// x
#[derive(Debug)]
pub struct Controller;
