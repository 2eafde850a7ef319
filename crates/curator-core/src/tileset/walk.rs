//! The image files below a folder. Names are read and nothing else, so that a million of them take a second.

use std::path::{Path, PathBuf};
use std::vec::IntoIter;

use crate::{Error, Result};

/// File name endings that are taken for images.
const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "tif", "tiff"];

/// Relative paths of image files with `/`, in the order of their names, folder by folder; links are followed.
/// Hidden files and folders are left out, and names that are not UTF-8.
pub(super) struct Walk {
    root: PathBuf,
    begun: bool,
    /// The folders on the way down to where it is.
    levels: Vec<Level>,
}

struct Level {
    /// Of the folder, with a `/` behind it; empty for the root.
    relative: String,
    entries: IntoIter<(String, What)>,
}

#[derive(Clone, Copy)]
enum What {
    Folder,
    File,
    Link,
}

impl Walk {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.into(), begun: false, levels: Vec::new() }
    }

    /// Goes down into a folder.
    fn enter(&mut self, relative: String) -> Result<()> {
        let path = self.root.join(&relative);
        let read = || Error::io("read", &path);
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(read())? {
            let entry = entry.map_err(read())?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            // Of most file systems the listing says it: no look at the file itself.
            let kind = entry.file_type().map_err(read())?;
            let what = if kind.is_symlink() {
                What::Link
            } else if kind.is_dir() {
                What::Folder
            } else if kind.is_file() && is_image(&name) {
                What::File
            } else {
                continue;
            };
            entries.push((name, what));
        }
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        self.levels.push(Level { relative, entries: entries.into_iter() });
        Ok(())
    }

    /// What a link leads to; `None` for what is no folder and no image.
    fn follow(&self, relative: &str) -> Result<Option<What>> {
        let path = self.root.join(relative);
        match path.metadata() {
            Ok(found) if found.is_dir() => {
                let target = path.canonicalize().map_err(Error::io("read", &path))?;
                let here = |level: &Level| self.root.join(&level.relative).canonicalize().ok();
                if self.levels.iter().any(|level| here(level).as_ref() == Some(&target)) {
                    let above = std::io::Error::other("the link leads to a folder that it is in");
                    return Err(Error::io("follow", &path)(above));
                }
                Ok(Some(What::Folder))
            }
            Ok(found) => Ok((found.is_file() && is_image(relative)).then_some(What::File)),
            Err(error) if is_image(relative) => Err(Error::io("read", &path)(error)),
            Err(_) => Ok(None),
        }
    }
}

impl Iterator for Walk {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        if !std::mem::replace(&mut self.begun, true)
            && let Err(error) = self.enter(String::new())
        {
            return Some(Err(error));
        }
        loop {
            let level = self.levels.last_mut()?;
            let Some((name, mut what)) = level.entries.next() else {
                self.levels.pop();
                continue;
            };
            let mut relative = String::with_capacity(level.relative.len() + name.len() + 1);
            relative.push_str(&level.relative);
            relative.push_str(&name);
            if matches!(what, What::Link) {
                what = match self.follow(&relative) {
                    Ok(Some(what)) => what,
                    Ok(None) => continue,
                    Err(error) => return Some(Err(error)),
                };
            }
            match what {
                What::Folder => {
                    relative.push('/');
                    if let Err(error) = self.enter(relative) {
                        return Some(Err(error));
                    }
                }
                What::File | What::Link => return Some(Ok(relative)),
            }
        }
    }
}

fn is_image(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(root: &Path) -> Result<Vec<String>> {
        Walk::new(root).collect()
    }

    #[test]
    fn folders_come_where_their_names_are_and_links_are_followed_but_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("root"), dir.path().join("other"));
        for name in [
            "root/b.png",
            "root/a/2.JPG",
            "root/a/10.tiff",
            "root/a.x/1.png",
            "root/notes.txt",
            "root/.h/1.png",
            "other/o.png",
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let link = |from: &Path, to: PathBuf| std::os::unix::fs::symlink(from, to).unwrap();
        link(&other, root.join("c"));
        link(&other.join("o.png"), root.join("d.png"));
        link(Path::new("nowhere"), root.join("unrelated"));
        let found = ["a/10.tiff", "a/2.JPG", "a.x/1.png", "b.png", "c/o.png", "d.png"];
        assert_eq!(list(&root).unwrap(), found);
        link(&root, other.join("up"));
        assert!(list(&root).unwrap_err().to_string().contains("c/up"));
        std::fs::remove_file(other.join("up")).unwrap();
        link(Path::new("nowhere"), root.join("e.png"));
        assert!(matches!(list(&root), Err(Error::Missing { .. })));
        assert!(matches!(list(&dir.path().join("no")), Err(Error::Missing { .. })));
    }
}
