//! Groups of things that are connected by pairs (union–find). Memory: 4 bytes a thing.

/// Disjoint groups; each is named by its lowest member.
pub(crate) struct Groups(Vec<u32>);

impl Groups {
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count as u32).collect())
    }

    /// The lowest member of a thing's group.
    pub(crate) fn first(&mut self, mut thing: u32) -> u32 {
        while self.0[thing as usize] != thing {
            // Halve the path.
            self.0[thing as usize] = self.0[self.0[thing as usize] as usize];
            thing = self.0[thing as usize];
        }
        thing
    }

    /// Joins the groups of two things.
    pub(crate) fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.first(a), self.first(b));
        self.0[a.max(b) as usize] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_make_groups_whatever_their_order() {
        let mut groups = Groups::new(7);
        for (a, b) in [(5, 6), (1, 5), (2, 3), (6, 2)] {
            groups.join(a, b);
        }
        let firsts: Vec<u32> = (0..7).map(|i| groups.first(i)).collect();
        assert_eq!(firsts, [0, 1, 1, 1, 4, 1, 1]);
    }
}
