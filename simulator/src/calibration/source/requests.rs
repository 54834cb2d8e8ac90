//! Folders with the records of single requests, as `plimsoll validate` reads them.

use std::path::Path;

use serde::Deserialize;

use super::{Measurements, ServerFacts, SourceFile, json, short, text};
use crate::calibration::CalibrationError;
use crate::validation::Run;

const RECORDS: &str = "requests.jsonl";
const META: &str = "meta.json";

pub(super) fn is_run(folder: &Path) -> bool {
    folder.join(RECORDS).exists() && folder.join(META).exists()
}

/// The dates in `meta.json`.
#[derive(Debug, Deserialize)]
struct Meta {
    started_at: Option<String>,
    finished_at: Option<String>,
    kv_cache: Option<KvCache>,
}

#[derive(Debug, Deserialize)]
struct KvCache {
    num_gpu_blocks: Option<u32>,
}

pub(super) fn read(folder: &Path) -> Result<Measurements, CalibrationError> {
    let broken = |source| CalibrationError::Run { path: folder.to_owned(), source };
    let run = Run::read(folder).map_err(broken)?;
    let records = text(&folder.join(RECORDS))?;
    let meta = text(&folder.join(META))?;
    let lines = records.lines().filter(|line| !line.trim().is_empty()).count();
    let Meta { started_at, finished_at, kv_cache } = json(&folder.join(META), &meta, 1)?;
    let file = SourceFile {
        path: folder.display().to_string(),
        bytes: (records.len() + meta.len()) as u64,
        used: run.requests.len(),
        left_out: lines - run.requests.len(),
        period: started_at.zip(finished_at),
    };
    let server = ServerFacts {
        model: Some(run.model.clone()),
        tensor_parallel: Some(run.tensor_parallel),
        max_model_len: Some(run.engine.max_model_len),
        max_num_batched_tokens: Some(run.engine.max_num_batched_tokens),
        max_num_seqs: Some(run.engine.max_num_seqs),
        // Without a count the run has one of its own, which is no fact of the server.
        num_gpu_blocks: kv_cache.and_then(|cache| cache.num_gpu_blocks),
    };
    let notes = run.notes.iter().map(|note| format!("{}: {note}", short(folder))).collect();
    Ok(Measurements { files: vec![file], runs: vec![run], stages: Vec::new(), server, notes })
}
