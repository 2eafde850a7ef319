//! The ids of a million tiles, compactly: one text after the other, found by hash.
//!
//! Memory: the ids' bytes and 13 bytes each.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
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
        let Self { text, ends, table, hasher } = self;
        let same = |&other: &u32| nth(text, ends, other) == id;
        let again = |&other: &u32| hasher.hash_one(nth(text, ends, other));
        let place = match table.entry(hasher.hash_one(id), same, again) {
            Entry::Occupied(known) => return (*known.get(), false),
            Entry::Vacant(place) => place,
        };
        let number = ends.len() as u32;
        place.insert(number);
        text.push_str(id);
        ends.push(text.len() as u64);
        (number, true)
    }

    /// Makes room for so many.
    pub(crate) fn reserve(&mut self, many: usize) {
        self.ends.reserve_exact(many);
        let Self { text, ends, table, hasher } = self;
        table.reserve(many, |&other| hasher.hash_one(nth(text, ends, other)));
    }

    pub(crate) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

/// The id of a number that is there.
fn nth<'a>(text: &'a str, ends: &[u64], number: u32) -> &'a str {
    let number = number as usize;
    let start = number.checked_sub(1).map_or(0, |before| ends[before]) as usize;
    &text[start..ends[number] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_by_number_and_numbers_by_id() {
        let mut names = Names::default();
        names.reserve(100);
        for i in 0..2000 {
            assert_eq!(names.add(&format!("it's {i}/$")), (i, true));
        }
        assert_eq!(names.add("it's 7/$"), (7, false));
        assert_eq!((names.get(0), names.get(2000)), (Some("it's 0/$"), None));
        assert_eq!((names.find("it's 1999/$"), names.find("")), (Some(1999), None));
        assert_eq!(names.len(), 2000);
    }
}
