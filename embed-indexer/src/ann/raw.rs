//! FAISS's C interface, the calls that are needed, made safe: one owner, checked lengths, errors.
//!
//! Searching takes `&self`: FAISS's searches do not change an index and may run at the same time.

use std::ffi::{CStr, CString};
use std::path::Path;
use std::ptr;

use faiss_sys as sys;

use crate::{Error, Result};

/// Lists of IVF files are mapped (`IO_FLAG_MMAP`), vectors of others too (`IO_FLAG_MMAP_IFC`).
const MAP_LISTS: i32 = 8 | 0x646f_0000;
const MAP_VECTORS: i32 = 1 << 9;

/// An index of FAISS.
pub(super) struct Raw(*mut sys::FaissIndex);

#[expect(unsafe_code, reason = "the pointer has one owner, and FAISS's searches only read")]
// SAFETY: what changes an index takes `&mut self`.
unsafe impl Send for Raw {}
#[expect(unsafe_code, reason = "the pointer has one owner, and FAISS's searches only read")]
// SAFETY: as above.
unsafe impl Sync for Raw {}

impl Drop for Raw {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "a C call")]
        // SAFETY: the pointer is FAISS's own and is not used again.
        unsafe {
            sys::faiss_Index_free(self.0);
        }
    }
}

/// Labels and distances, `[n, k]`; −1 where there are fewer.
pub(super) struct Found {
    pub(super) labels: Vec<i64>,
    pub(super) distances: Vec<f32>,
}

impl Found {
    pub(super) fn new(n: usize, k: usize) -> Self {
        Self { labels: vec![-1; n * k], distances: vec![0.0; n * k] }
    }
}

fn check(code: i32) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    #[expect(unsafe_code, reason = "a C call")]
    // SAFETY: the text belongs to FAISS and is copied at once.
    let text = unsafe {
        let text = sys::faiss_get_last_error();
        if text.is_null() {
            format!("error {code}")
        } else {
            CStr::from_ptr(text).to_string_lossy().into_owned()
        }
    };
    Err(Error::Faiss(text))
}

fn name(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| Error::Faiss("a path with a zero byte".into()))
}

#[expect(unsafe_code, reason = "C calls")]
impl Raw {
    /// A new index; `metric` is inner product, or squared distance for `l2`.
    pub(super) fn factory(dim: usize, description: &str, l2: bool) -> Result<Self> {
        let text = CString::new(description).map_err(|e| Error::Faiss(e.to_string()))?;
        let mut index = ptr::null_mut();
        let metric = u32::from(l2); // METRIC_INNER_PRODUCT = 0, METRIC_L2 = 1
        // SAFETY: valid pointers for the time of the call.
        check(unsafe { sys::faiss_index_factory(&mut index, dim as i32, text.as_ptr(), metric) })?;
        Ok(Self(index))
    }

    /// Reads a file, memory-mapped where FAISS can: `lists` for files with inverted lists.
    pub(super) fn read(path: &Path, lists: bool) -> Result<Self> {
        let file = name(path)?;
        let mut index = ptr::null_mut();
        let flags = if lists { MAP_LISTS } else { MAP_VECTORS };
        // SAFETY: valid pointers for the time of the call.
        check(unsafe { sys::faiss_read_index_fname(file.as_ptr(), flags, &mut index) })?;
        Ok(Self(index))
    }

    /// Reads a file into memory, which can be duplicated and added to.
    pub(super) fn read_whole(path: &Path) -> Result<Self> {
        let file = name(path)?;
        let mut index = ptr::null_mut();
        // SAFETY: valid pointers for the time of the call.
        check(unsafe { sys::faiss_read_index_fname(file.as_ptr(), 0, &mut index) })?;
        Ok(Self(index))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let file = name(path)?;
        // SAFETY: valid pointers for the time of the call.
        check(unsafe { sys::faiss_write_index_fname(self.0, file.as_ptr()) })
    }

    pub(super) fn duplicate(&self) -> Result<Self> {
        let mut index = ptr::null_mut();
        // SAFETY: valid pointers for the time of the call.
        check(unsafe { sys::faiss_clone_index(self.0, &mut index) })?;
        Ok(Self(index))
    }

    pub(super) fn dim(&self) -> usize {
        // SAFETY: a living index.
        unsafe { sys::faiss_Index_d(self.0) as usize }
    }

    pub(super) fn len(&self) -> usize {
        // SAFETY: a living index.
        unsafe { sys::faiss_Index_ntotal(self.0) as usize }
    }

    fn ivf(&self) -> Option<*mut sys::FaissIndexIVF> {
        // SAFETY: a living index; the cast is a dynamic one and gives null for others.
        let ivf = unsafe { sys::faiss_IndexIVF_cast(self.0) };
        (!ivf.is_null()).then_some(ivf)
    }

    /// Number of inverted lists; 0 where there are none.
    pub(super) fn lists(&self) -> usize {
        // SAFETY: a living index.
        self.ivf().map_or(0, |ivf| unsafe { sys::faiss_IndexIVF_nlist(ivf) })
    }

    /// For `scan.cpp`.
    pub(super) fn pointer(&self) -> *const std::ffi::c_void {
        self.0.cast_const().cast()
    }

    /// Rows of an inverted list, which is below [`Raw::lists`].
    pub(super) fn list_length(&self, list: usize) -> usize {
        // SAFETY: a living index.
        self.ivf().map_or(0, |ivf| unsafe { sys::faiss_IndexIVF_get_list_size(ivf, list) })
    }

    fn rows(&self, numbers: &[f32]) -> Result<i64> {
        let dim = self.dim();
        if dim == 0 || !numbers.len().is_multiple_of(dim) {
            return Err(Error::Faiss(format!("{} numbers are no rows of {dim}", numbers.len())));
        }
        Ok((numbers.len() / dim) as i64)
    }

    /// Trains; centroids of inverted lists by `iterations` of spherical k-means.
    pub(super) fn train(&mut self, sample: &[f32], iterations: i32) -> Result<()> {
        let n = self.rows(sample)?;
        if let Some(ivf) = self.ivf() {
            // SAFETY: the structure is filled by its own function; the clustering copies what it needs and
            // leaves the centroids in the quantiser, which belongs to the index.
            unsafe {
                let mut settings = std::mem::MaybeUninit::uninit();
                sys::faiss_ClusteringParameters_init(settings.as_mut_ptr());
                let mut settings = settings.assume_init();
                settings.niter = iterations;
                settings.spherical = 1;
                settings.min_points_per_centroid = 1;
                settings.max_points_per_centroid = 1 << 16;
                let mut clustering = ptr::null_mut();
                let lists = self.lists() as i32;
                let dim = self.dim() as i32;
                check(sys::faiss_Clustering_new_with_params(
                    &mut clustering,
                    dim,
                    lists,
                    &settings,
                ))?;
                let quantiser = sys::faiss_IndexIVF_quantizer(ivf);
                let code = sys::faiss_Clustering_train(clustering, n, sample.as_ptr(), quantiser);
                sys::faiss_Clustering_free(clustering);
                check(code)?;
            }
        }
        // SAFETY: `n` rows are there.
        check(unsafe { sys::faiss_Index_train(self.0, n, sample.as_ptr()) })
    }

    pub(super) fn add(&mut self, rows: &[f32]) -> Result<()> {
        let n = self.rows(rows)?;
        // SAFETY: `n` rows are there.
        check(unsafe { sys::faiss_Index_add(self.0, n, rows.as_ptr()) })
    }

    /// Moves the rows of another index with the same lists to the end of this one's; they are numbered on
    /// from `first`.
    pub(super) fn merge(&mut self, other: &mut Self, first: usize) -> Result<()> {
        let (Some(own), Some(theirs)) = (self.ivf(), other.ivf()) else {
            return Err(Error::Faiss("no inverted lists".into()));
        };
        // SAFETY: two living indexes; FAISS compares their shapes.
        check(unsafe { sys::faiss_IndexIVF_merge_from(own, theirs, first as i64) })
    }

    /// Candidates that a graph's search keeps.
    pub(super) fn set_effort(&mut self, effort: usize) -> Result<()> {
        let mut space = ptr::null_mut();
        // SAFETY: valid pointers for the time of the calls; the space is freed.
        unsafe {
            check(sys::faiss_ParameterSpace_new(&mut space))?;
            let key = c"efSearch".as_ptr();
            let code =
                sys::faiss_ParameterSpace_set_index_parameter(space, self.0, key, effort as f64);
            sys::faiss_ParameterSpace_free(space);
            check(code)
        }
    }

    pub(super) fn search(&self, queries: &[f32], k: usize) -> Result<Found> {
        let n = self.rows(queries)?;
        let mut found = Found::new(n as usize, k);
        let (distances, labels) = (found.distances.as_mut_ptr(), found.labels.as_mut_ptr());
        // SAFETY: `n` rows are there, and room for `n·k` answers.
        check(unsafe {
            sys::faiss_Index_search(self.0, n, queries.as_ptr(), k as i64, distances, labels)
        })?;
        Ok(found)
    }

    /// The nearest lists of queries, for [`Raw::search_lists`].
    pub(super) fn nearest_lists(&self, queries: &[f32], probes: usize) -> Result<Found> {
        let n = self.rows(queries)?;
        let ivf = self.ivf().ok_or_else(|| Error::Faiss("no inverted lists".into()))?;
        let mut found = Found::new(n as usize, probes);
        let (distances, labels) = (found.distances.as_mut_ptr(), found.labels.as_mut_ptr());
        // SAFETY: `n` rows are there, and room for `n·probes` answers; the quantiser is the index's own.
        check(unsafe {
            let quantiser = sys::faiss_IndexIVF_quantizer(ivf);
            let (x, k) = (queries.as_ptr(), probes as i64);
            sys::faiss_Index_search(quantiser, n, x, k, distances, labels)
        })?;
        Ok(found)
    }

    /// Searches lists that were found before, `lists.labels` being `[n, probes]`; sets the number of probes.
    pub(super) fn search_lists(&self, queries: &[f32], k: usize, lists: &Found) -> Result<Found> {
        let n = self.rows(queries)?;
        let ivf = self.ivf().ok_or_else(|| Error::Faiss("no inverted lists".into()))?;
        let mut found = Found::new(n as usize, k);
        // SAFETY: `n` rows are there, `n·probes` lists, and room for `n·k` answers. The number of probes is
        // set by `set_probes` to what `lists` has.
        check(unsafe {
            sys::faiss_IndexIVF_search_preassigned(
                ivf,
                n,
                queries.as_ptr(),
                k as i64,
                lists.labels.as_ptr(),
                lists.distances.as_ptr(),
                found.distances.as_mut_ptr(),
                found.labels.as_mut_ptr(),
                0,
            )
        })?;
        Ok(found)
    }

    pub(super) fn set_probes(&mut self, probes: usize) {
        if let Some(ivf) = self.ivf() {
            // SAFETY: a living index.
            unsafe { sys::faiss_IndexIVF_set_nprobe(ivf, probes) }
        }
    }

    /// As [`Raw::search`], among the rows whose bit is set (bit `i % 8` of byte `i / 8`).
    pub(super) fn search_among(
        &self,
        query: &[f32],
        k: usize,
        bits: &[u8],
        probes: usize,
    ) -> Result<Found> {
        let n = self.rows(query)?;
        if bits.len() * 8 < self.len() {
            return Err(Error::Faiss("fewer bits than rows".into()));
        }
        let mut found = Found::new(n as usize, k);
        // SAFETY: all pointers are valid until they are freed below; the bits outlive the search.
        unsafe {
            let mut selector = ptr::null_mut();
            check(sys::faiss_IDSelectorBitmap_new(&mut selector, self.len(), bits.as_ptr()))?;
            let selector: *mut sys::FaissIDSelector = selector.cast();
            let mut settings: *mut sys::FaissSearchParameters = ptr::null_mut();
            let code = if self.ivf().is_some() {
                let mut own = ptr::null_mut();
                let code = sys::faiss_SearchParametersIVF_new_with(&mut own, selector, probes, 0);
                settings = own.cast();
                code
            } else {
                sys::faiss_SearchParameters_new(&mut settings, selector)
            };
            let mut result = check(code);
            if result.is_ok() {
                result = check(sys::faiss_Index_search_with_params(
                    self.0,
                    n,
                    query.as_ptr(),
                    k as i64,
                    settings,
                    found.distances.as_mut_ptr(),
                    found.labels.as_mut_ptr(),
                ));
                sys::faiss_SearchParameters_free(settings);
            }
            sys::faiss_IDSelector_free(selector);
            result?;
        }
        Ok(found)
    }
}

/// Principal components of a sample `[n, input]`: `A`, `[output, input]`, and `b`, `[output]`. With
/// `power` −½ the components are whitened.
#[expect(unsafe_code, reason = "C calls")]
pub(crate) fn principal_components(
    sample: &[f32],
    input: usize,
    output: usize,
    power: f32,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let n = (sample.len() / input) as i64;
    let mut pca = ptr::null_mut();
    // The map is read off its images of zero and of the unit vectors.
    let mut probes = vec![0.0_f32; (input + 1) * input];
    (0..input).for_each(|i| probes[(i + 1) * input + i] = 1.0);
    let mut images = vec![0.0_f32; (input + 1) * output];
    // SAFETY: `n` rows are there, and room for all images; the transform is freed.
    unsafe {
        check(sys::faiss_PCAMatrix_new_with(&mut pca, input as i32, output as i32, power, 0))?;
        let map: *mut sys::FaissVectorTransform = pca.cast();
        let mut result = check(sys::faiss_VectorTransform_train(map, n, sample.as_ptr()));
        if result.is_ok() {
            let count = (input + 1) as i64;
            sys::faiss_VectorTransform_apply_noalloc(
                map,
                count,
                probes.as_ptr(),
                images.as_mut_ptr(),
            );
            result = Ok(());
        }
        sys::faiss_PCAMatrix_free(pca);
        result?;
    }
    let offset = images[..output].to_vec();
    let mut matrix = vec![0.0; output * input];
    for i in 0..input {
        for o in 0..output {
            matrix[o * input + i] = images[(i + 1) * output + o] - offset[o];
        }
    }
    Ok((matrix, offset))
}
