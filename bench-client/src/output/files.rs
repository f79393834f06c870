//! Files that are written as a whole: who looks finds the old one or the new one, never a part.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process,
};

/// A file that is written at the end of a run.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    /// What is no file, such as a pipe, cannot be replaced and is written to.
    is_replaced: bool,
}

impl Target {
    /// Makes sure that it can be written.
    pub(crate) fn prepare(path: &Path) -> Result<Self, String> {
        // A link stays one, and what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let metadata = fs::metadata(&path).ok();
        if metadata.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(complaint(&path, &"it is a directory"));
        }
        let target = Self { is_replaced: metadata.is_none_or(|found| found.is_file()), path };
        if target.is_replaced {
            let temporary = target.temporary();
            File::create(&temporary).map_err(|error| complaint(&target.path, &error))?;
            // It is made again when there is something to write: a run that is killed leaves none.
            fs::remove_file(&temporary).map_err(|error| complaint(&target.path, &error))?;
        }
        Ok(target)
    }

    /// Writes the file.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), String> {
        if !self.is_replaced {
            return fs::write(&self.path, bytes).map_err(|error| complaint(&self.path, &error));
        }
        let temporary = self.temporary();
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)
        };
        write().map_err(|error| {
            // The error that counts is the first.
            let _ = fs::remove_file(&temporary);
            complaint(&self.path, &error)
        })
    }

    /// The same path with a word before its ending: `run.hgrm` becomes `run.service.hgrm`.
    pub(crate) fn beside(&self, word: &str) -> Self {
        // A group may have any name, and a file may not.
        let word: String = word
            .chars()
            .map(|c| if c.is_alphanumeric() || "-_".contains(c) { c } else { '_' })
            .collect();
        let ending = self.path.extension().map(|ending| ending.to_string_lossy().into_owned());
        let ending = ending.map_or_else(|| word.clone(), |ending| format!("{word}.{ending}"));
        Self { path: self.path.with_extension(ending), is_replaced: self.is_replaced }
    }

    fn temporary(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(format!(".{}.part", process::id()));
        self.path.with_file_name(name)
    }
}

/// What is said of a path that cannot be written.
pub(crate) fn complaint(path: &Path, error: &impl std::fmt::Display) -> String {
    format!("cannot write {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        let target = Target::prepare(&path).unwrap();
        assert!(!path.exists());
        target.write(b"one").unwrap();
        target.write(b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        target.beside("x/y").write(b"three").unwrap();
        assert_eq!(fs::read(directory.path().join("a.x_y.json")).unwrap(), b"three");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_link_stays_one() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        Target::prepare(&link).unwrap().write(b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn what_cannot_be_written_is_said_at_once() {
        for path in ["/", "/nowhere/at/all", "/proc/version/x"] {
            let error = Target::prepare(Path::new(path)).unwrap_err();
            assert!(error.starts_with("cannot write /"), "{error}");
        }
        Target::prepare(Path::new("/dev/null")).unwrap().write(b"x").unwrap();
    }
}
