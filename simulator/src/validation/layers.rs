//! The plant of a run, from the layer timings beside it.

use optimizer::units::Seconds;

use super::model::Structure;
use super::recording::{Run, RunError};
use crate::engine::step_time::table::{HostTime, Table, TableFolder, capture_sizes};

/// The time for which a recorded GPU waits for its host. No layer timing has it in it, so it is one
/// constant for all runs.
///
/// It was measured on the steps of the recorded run on RTX PRO 6000, which can be told one by one:
/// a server's cache is large there, so who is in which step follows from the arrivals, and the
/// times of first and last tokens and of the scheduler's looks at its queue are those of steps'
/// ends. All 600 first and last tokens fall on the step that is computed for them. In 116 steps with
/// a prompt, both ends of which are recorded, the step is 4.6 ms longer than its layers (standard
/// deviation 2.4 ms), with 300 tokens as with 2,000; most of the spread is from matrices, which at
/// some sizes take up to 6 ms more or 3 ms less than was timed. Decode steps need no such constant:
/// with up to 4 sequences they are 0.03 ms longer than their layers, with 128 0.13 ms.
///
/// The run on RTX 4090 was told apart in the same way. There steps with a prompt are shorter than
/// their layers, by 1.4 ms of 180 ms, so it does not show; small ones, of 25 ms, take what their
/// layers take.
pub const HOST_TIME: HostTime =
    HostTime { per_step: Seconds::ZERO, per_prefill_step: Seconds::new(0.0045) };

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
