//! What a folder of runs holds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The runs in a folder, and what looks like a run but cannot be read yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Folders with a run of single requests.
    pub runs: Vec<PathBuf>,
    /// Files and folders of other kinds of runs.
    pub unread: Vec<PathBuf>,
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
        survey.unread.push(folder.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            search(&entry, survey)?;
        } else if entry.extension().is_some_and(|extension| extension == "csv") {
            survey.unread.push(entry);
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
        for file in [
            "b/one/meta.json",
            "b/one/requests.jsonl",
            "b/one/timeseries.csv",
            "a/two/profile.yaml",
            "summaries.csv",
            "README.md",
        ] {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "").unwrap();
        }
        let expected = Survey {
            runs: vec![root.join("b/one")],
            unread: vec![root.join("a/two"), root.join("summaries.csv")],
        };
        assert_eq!(survey(root).unwrap(), expected);
        assert!(survey(&root.join("absent")).is_err());
    }
}
