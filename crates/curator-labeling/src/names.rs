//! The ids of a million tiles, compactly: one text after the other, found by hash.
//!
//! Memory: the ids' bytes and 13 bytes each.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Ids by number and numbers by id.
#[derive(Default)]
pub(crate) struct Names {
    text: String,
    ends: Vec<u64>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Names {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, number: u32) -> Option<&str> {
        let number = number as usize;
        let end = *self.ends.get(number)?;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        self.table.find(hash, |&number| self.get(number) == Some(id)).copied()
    }

    /// The number of an id, and whether it is new.
    pub(crate) fn add(&mut self, id: &str) -> (u32, bool) {
        if let Some(number) = self.find(id) {
            return (number, false);
        }
        let number = self.ends.len() as u32;
        self.text.push_str(id);
        self.ends.push(self.text.len() as u64);
        let hash = self.hasher.hash_one(id);
        let Self { text, ends, table, hasher } = self;
        table.insert_unique(hash, number, |&other| {
            let other = other as usize;
            let start = other.checked_sub(1).map_or(0, |before| ends[before]) as usize;
            hasher.hash_one(&text[start..ends[other] as usize])
        });
        (number, true)
    }

    pub(crate) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_by_number_and_numbers_by_id() {
        let mut names = Names::default();
        for i in 0..2000 {
            assert_eq!(names.add(&format!("it's {i}/$")), (i, true));
        }
        assert_eq!(names.add("it's 7/$"), (7, false));
        assert_eq!((names.get(0), names.get(2000)), (Some("it's 0/$"), None));
        assert_eq!((names.find("it's 1999/$"), names.find("")), (Some(1999), None));
        assert_eq!(names.len(), 2000);
    }
}
