//! What a folder of runs holds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::summary::is_table;

/// The runs in a folder, and what looks like a run but is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Folders with a run of single requests.
    pub runs: Vec<PathBuf>,
    /// Folders that inference-perf wrote.
    pub summary_folders: Vec<PathBuf>,
    /// Tables of runs.
    pub summary_tables: Vec<PathBuf>,
    /// Tables of other kinds, and what tells them apart.
    pub unread: Vec<(PathBuf, String)>,
}

/// Looks for runs in `folder` and below, in the order of their paths.
///
/// # Errors
///
/// When a folder cannot be listed.
pub fn survey(folder: &Path) -> io::Result<Survey> {
    let mut survey = Survey::default();
    search(folder, &mut survey)?;
    Ok(survey)
}

fn search(folder: &Path, survey: &mut Survey) -> io::Result<()> {
    let has = |name: &str| folder.join(name).exists();
    if has("requests.jsonl") && has("meta.json") {
        survey.runs.push(folder.to_owned());
        return Ok(());
    }
    // The two files that inference-perf writes for every run.
    if has("summary_lifecycle_metrics.json") || has("profile.yaml") {
        survey.summary_folders.push(folder.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            search(&entry, survey)?;
        } else if entry.extension().is_some_and(|extension| extension == "csv") {
            match is_table(&entry) {
                Ok(()) => survey.summary_tables.push(entry),
                Err(why) => survey.unread.push((entry, why)),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_looks_like_a_run_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let header = "experiment,model,workload,hardware,tp,precision,stage_index,metric,actual_ms";
        for (file, text) in [
            ("b/one/meta.json", ""),
            ("b/one/requests.jsonl", ""),
            ("b/one/timeseries.csv", ""),
            ("a/two/profile.yaml", ""),
            ("other.csv", "a,b\n1,2\n"),
            ("summaries.csv", header),
            ("README.md", ""),
        ] {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), text).unwrap();
        }
        let why = "not a table of runs: no column experiment".to_owned();
        let expected = Survey {
            runs: vec![root.join("b/one")],
            summary_folders: vec![root.join("a/two")],
            summary_tables: vec![root.join("summaries.csv")],
            unread: vec![(root.join("other.csv"), why)],
        };
        assert_eq!(survey(root).unwrap(), expected);
        assert!(survey(&root.join("absent")).is_err());
    }
}
