//! x
use clap::Args;
/// x
#[derive(Debug, Args)]
pub(super) struct TraceArgs;
impl TraceArgs { pub(super) fn run(self) -> anyhow::Result<()> { Ok(()) } }
