//! The plant of a run, from the layer timings beside it.

use optimizer::units::Seconds;

use super::model::Structure;
use super::recording::{Run, RunError};
use crate::engine::step_time::table::{HostTime, Table, TableFolder, capture_sizes};

/// The time for which a recorded GPU waits for its host. No layer timing has it in it, so it is one
/// constant for all runs.
///
/// It shows in the recorded run on RTX PRO 6000, in the requests that did not wait. The median time
/// from their scheduling to their first token is 6.2 ms longer than the layers take when one step
/// with a prompt lies in it, 9.1 ms with two and 10.6 ms with three, however many tokens they have.
/// So each takes about 3 ms more than its layers; the rest is delivery, which delays no later step.
/// Decode steps take 0.2 ms more than their layers, which is left out. The run on RTX 4090, whose
/// steps with a prompt take 200 ms, is too coarse to show either.
pub const HOST_TIME: HostTime =
    HostTime { per_step: Seconds::ZERO, per_prefill_step: Seconds::new(0.003) };

/// The plant of `run`. Also returns what a reader of results should know.
pub(super) fn plant(run: &Run) -> Result<(Table, Vec<String>), RunError> {
    let layers = run.folder.join("layers");
    if !layers.is_dir() {
        return Err(RunError::NotYet("runs without layer timings in layers/".to_owned()));
    }
    let by_degree = layers.join(format!("tp{}", run.tensor_parallel));
    let path = if by_degree.is_dir() { by_degree } else { layers };
    let Structure { num_layers, experts } = Structure::of(&run.model, &run.folder)?;
    let (table, mut notes) = Table::read(&TableFolder { path, num_layers, experts })?;
    if run.tensor_parallel > 1 {
        notes.push("the all-reduce between GPUs is in no table and takes no time".to_owned());
    }
    let sizes = run.capture_sizes.clone();
    let sizes = sizes.unwrap_or_else(|| capture_sizes(run.engine.max_num_seqs));
    Ok((table.with_capture_sizes(sizes).with_host_time(HOST_TIME), notes))
}
