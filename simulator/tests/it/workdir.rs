//! A folder in which a user runs `plimsoll`.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// One small model on one GPU, driven by [`TRACE`].
pub(crate) const SCENARIO: &str = "\
name: tiny
models:
  - model: llama-3.1-8b
    slo: {ttft: 2s, tpot: 100ms}
    traffic:
      trace: {file: t.csv}
    variants:
      - name: h100
        accelerator: H100
        replicas: {max: 2}
";

/// Three requests in a quarter of a minute.
pub(crate) const TRACE: &str = "\
arrived_at,num_prefill_tokens,num_decode_tokens
0.5,1000,20
7.25,30,40
15,500,1
";

/// A folder with a scenario, `x.yaml`, and a trace, `t.csv`.
pub(crate) struct WorkDir(TempDir);

/// A command that has ended.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl WorkDir {
    pub(crate) fn new(scenario: &str, trace: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("x.yaml", scenario);
        folder.write("t.csv", trace);
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    pub(crate) fn plimsoll(&self, args: &[&str]) -> Finished {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("plimsoll");
        // A terminal's width and colors would get into the reports.
        let output = command.current_dir(self.path()).args(args).env_clear().output().unwrap();
        Finished {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs the scenario with `args`, which has to succeed, and returns the folder of its results.
    pub(crate) fn simulate(&self, out: &str, args: &[&str]) -> std::path::PathBuf {
        let all = [&["simulate", "x.yaml", "--quiet", "--out", out], args].concat();
        let finished = self.plimsoll(&all);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
        self.path().join(out)
    }

    /// The names of all files and folders, at any depth.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.path()).unwrap().to_str().unwrap().to_owned();
                files.push(name);
                if path.is_dir() {
                    folders.push(path);
                }
            }
        }
        files.sort();
        files
    }
}
