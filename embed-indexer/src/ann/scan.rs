//! Inverted lists that lie elsewhere than in an index, compared by FAISS's own code; see `scan.cpp`.

use std::ffi::c_void;

use super::raw::Found;
use super::{Ann, Hits, Lists};
use crate::{Error, Result};

/// A list's rows.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// The list's number.
    pub list: usize,
    /// What the quantiser said of query and list.
    pub nearness: f32,
    /// The rows' codes.
    pub codes: &'a [u8],
    /// The rows' numbers.
    pub ids: &'a [i64],
}

#[expect(unsafe_code, reason = "declarations of C functions")]
unsafe extern "C" {
    fn curator_code_size(index: *const c_void) -> usize;
    fn curator_list(
        index: *const c_void,
        list: usize,
        length: usize,
        codes: *mut u8,
        ids: *mut i64,
    ) -> i32;
    fn curator_scan(
        index: *const c_void,
        query: *const f32,
        count: usize,
        lists: *const i64,
        nearness: *const f32,
        lengths: *const usize,
        codes: *const *const u8,
        ids: *const *const i64,
        bits: *const u8,
        bytes: usize,
        k: usize,
        distances: *mut f32,
        labels: *mut i64,
    ) -> i32;
}

impl Lists {
    /// The lists of the first query, nearest first, with how near they are.
    pub fn first(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        let pairs = self.found.labels.iter().zip(&self.found.distances).take(self.probes);
        pairs.filter_map(|(&list, &near)| Some((usize::try_from(list).ok()?, near)))
    }
}

#[expect(unsafe_code, reason = "C calls")]
impl Ann {
    /// Bytes of a row's code; 0 where there are no inverted lists.
    #[must_use]
    pub fn code_size(&self) -> usize {
        // SAFETY: a living index; the cast there is a dynamic one.
        unsafe { curator_code_size(self.raw.pointer()) }
    }

    /// Copies the codes and rows of a list.
    ///
    /// # Errors
    /// [`Error::Faiss`] when there is no such list.
    pub fn list(&self, list: usize) -> Result<(Vec<u8>, Vec<i64>)> {
        let refused = || Error::Faiss(format!("no inverted list {list}"));
        if list >= self.lists() {
            return Err(refused());
        }
        let length = self.raw.list_length(list);
        let (mut codes, mut ids) = (vec![0; length * self.code_size()], vec![0; length]);
        let (to, numbers) = (codes.as_mut_ptr(), ids.as_mut_ptr());
        // SAFETY: room for `length` codes and ids, which is compared with the list's own length.
        let code = unsafe { curator_list(self.raw.pointer(), list, length, to, numbers) };
        if code == 0 { Ok((codes, ids)) } else { Err(refused()) }
    }

    /// The `k` best rows of segments of lists, best first; with `bits` only those whose bit is set. What a
    /// search of an index with these lists finds, when they come in the same order.
    ///
    /// # Errors
    /// [`Error::Faiss`] when segments or query are not this index's.
    pub fn scan(
        &self,
        query: &[f32],
        k: usize,
        segments: &[Segment],
        bits: Option<&[u8]>,
    ) -> Result<Hits> {
        if k == 0 {
            return Ok(Vec::new());
        }
        let size = self.code_size();
        let whole = |s: &Segment| s.codes.len() == s.ids.len() * size && s.list < self.lists();
        if size == 0 || query.len() != self.dim() || !segments.iter().all(whole) {
            return Err(Error::Faiss("codes and rows of a list differ in number".into()));
        }
        let lists: Vec<i64> = segments.iter().map(|s| s.list as i64).collect();
        let nearness: Vec<f32> = segments.iter().map(|s| s.nearness).collect();
        let lengths: Vec<usize> = segments.iter().map(|s| s.ids.len()).collect();
        let codes: Vec<*const u8> = segments.iter().map(|s| s.codes.as_ptr()).collect();
        let ids: Vec<*const i64> = segments.iter().map(|s| s.ids.as_ptr()).collect();
        let (chosen, bytes) =
            bits.map_or((std::ptr::null(), 0), |bits| (bits.as_ptr(), bits.len()));
        let mut found = Found::new(1, k);
        // SAFETY: as many lists, codes and ids as are told, which live as long as the call; room for `k` answers.
        let code = unsafe {
            curator_scan(
                self.raw.pointer(),
                query.as_ptr(),
                segments.len(),
                lists.as_ptr(),
                nearness.as_ptr(),
                lengths.as_ptr(),
                codes.as_ptr(),
                ids.as_ptr(),
                chosen,
                bytes,
                k,
                found.distances.as_mut_ptr(),
                found.labels.as_mut_ptr(),
            )
        };
        if code != 0 {
            return Err(Error::Faiss("a list cannot be compared".into()));
        }
        Ok(self.hits(&found, k).pop().unwrap_or_default())
    }
}
