//! The lists of what a directory lacks: what failed, and what the service has nothing for.

use std::io::{BufWriter, Write};

use curator_core::{Error as CoreError, atomic};
use serde::Serialize;

use crate::archive::{Archive, FAILURES, Failure, remove};
use crate::error::Result;
use crate::journal::Absent;
use crate::settled::{Place, Settled};
use crate::sorter::{Merge, Sorter};

/// 404s in order of place, without those of which a tile came.
pub(crate) struct NoData(Merge<(Absent, bool)>, Option<(Absent, bool)>);

impl NoData {
    /// Of answers, in order of place, with whether a tile came.
    pub(crate) fn of(answers: Merge<(Absent, bool)>) -> Self {
        Self(answers, None)
    }
}

impl Iterator for NoData {
    type Item = Result<Absent, CoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (absent, mut came) = match self.1.take() {
                Some(first) => first,
                None => match self.0.next()? {
                    Ok(first) => first,
                    Err(error) => return Some(Err(error)),
                },
            };
            for next in self.0.by_ref() {
                match next {
                    Ok((same, also)) if same == absent => came |= also,
                    Ok(other) => {
                        self.1 = Some(other);
                        break;
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
            if !came {
                return Some(Ok(absent));
            }
        }
    }
}

/// Writes the failures of this run and earlier ones of requests that are still open; how many there are.
pub(crate) fn write_failures(
    archive: &Archive,
    settled: &Settled<'_>,
    mut failures: Sorter<Failure>,
) -> Result<u64> {
    for old in archive.lines::<Failure>(FAILURES)? {
        let old = old?;
        if !settled.has(Place::from(&old.tile)) {
            failures.push(old)?;
        }
    }
    let mut last: Option<Absent> = None;
    // The latest of each tile comes first.
    let newest = failures.sorted()?.filter(move |failure| match failure {
        Ok(failure) if last.as_ref() == Some(&failure.tile) => false,
        Ok(failure) => {
            last = Some(failure.tile.clone());
            true
        }
        Err(_) => true,
    });
    write_lines(archive, FAILURES, newest)
}

/// Writes JSON lines and counts them; removes the file when there are none.
pub(crate) fn write_lines<T: Serialize>(
    archive: &Archive,
    name: &str,
    lines: impl Iterator<Item = Result<T, CoreError>>,
) -> Result<u64> {
    let path = archive.directory.join(name);
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        remove(&path, |path| std::fs::remove_file(path))?;
        return Ok(0);
    }
    let draft = atomic::Draft::create(&path)?;
    let mut file = BufWriter::new(draft.file());
    let mut count = 0;
    for line in lines {
        let line = serde_json::to_string(&line?).map_err(std::io::Error::from);
        let written = line.and_then(|line| writeln!(file, "{line}"));
        written.map_err(CoreError::io("write", &path))?;
        count += 1;
    }
    file.flush().map_err(CoreError::io("write", &path))?;
    drop(file);
    draft.commit()?;
    Ok(count)
}
