//! Embeddings that were made elsewhere: `.npy`, safetensors, Parquet and GeoParquet, with their ids.

use std::path::{Path, PathBuf};

use arrow_array::{
    Array, BinaryArray, FixedSizeListArray, Float32Array, Float64Array, LargeListArray, ListArray,
    RecordBatch, StringArray,
};
use curator_core::npy::{self, Growing, Matrix};
use curator_core::{BBox, Error as CoreError, Tile, digest, manifest, table};

use crate::{Error, Result};

/// Numbers of an embedding at most; a claim beyond is none.
const MOST_NUMBERS: usize = 1 << 16;
/// Names that columns of embeddings have.
const VECTOR_COLUMNS: [&str; 5] = ["embedding", "embeddings", "vector", "features", "emb"];
/// Names that columns of ids have.
const ID_COLUMNS: [&str; 6] = ["tile_id", "id", "unique_id", "filename", "path", "name"];

/// Where embeddings come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The file of embeddings.
    pub file: PathBuf,
    /// A file of ids, a line or first column each; of Parquet a column.
    pub ids: Option<PathBuf>,
    /// The column, or the tensor, that has the embeddings.
    pub column: Option<String>,
}

/// Opened embeddings. Memory: nothing a row for `.npy` and safetensors of 32 bits; others are turned into
/// 32 bits once, in a temporary file.
pub struct Vectors {
    matrix: Matrix<f32>,
    /// One a row, where the file or another tells them.
    pub ids: Option<Vec<String>>,
    /// What Parquet says of each row besides.
    pub rows: Option<Vec<Tile>>,
    /// As an input of the index.
    pub input: manifest::Input,
    _temporary: Option<tempfile::TempDir>,
}

impl Vectors {
    /// Opens embeddings of any of the formats, told by the file's contents.
    ///
    /// # Errors
    /// [`curator_core::Error::Missing`], [`curator_core::Error::Damaged`], [`Error::Ids`].
    pub fn open(given: &Given) -> Result<Self> {
        let path = &given.file;
        let digest = digest::of_file(path)?;
        let (path_text, mut digests) = (path.display().to_string(), digest);
        let mut head = [0; 8];
        let mut file = std::fs::File::open(path).map_err(CoreError::io("read", path))?;
        let _ = std::io::Read::read(&mut file, &mut head).map_err(CoreError::io("read", path))?;
        let mut vectors = match &head {
            [0x93, b'N', b'U', b'M', ..] => Self::of_npy(path)?,
            [b'P', b'A', b'R', b'1', ..] => Self::of_parquet(path, given.column.as_deref())?,
            _ => Self::of_safetensors(path, given.column.as_deref())?,
        };
        if vectors.dim() == 0 || vectors.dim() > MOST_NUMBERS {
            let expected = format!("rows of 1 to {MOST_NUMBERS} numbers");
            return Err(CoreError::damaged(path, expected, vectors.dim()).into());
        }
        if let Some(ids) = &given.ids {
            digests += &digest::of_file(ids)?;
            vectors.ids = Some(read_ids(ids)?);
        }
        if let Some(ids) = &vectors.ids
            && ids.len() != vectors.len()
        {
            let (ids, rows) = (ids.len(), vectors.len());
            return Err(Error::Ids { path: path.clone(), ids, rows });
        }
        let digest = digest::of_bytes(digests.as_bytes());
        vectors.input = manifest::Input { format: "embeddings".into(), path: path_text, digest };
        Ok(vectors)
    }

    fn new(matrix: Matrix<f32>, temporary: Option<tempfile::TempDir>) -> Self {
        let input =
            manifest::Input { format: String::new(), path: String::new(), digest: String::new() };
        Self { matrix, ids: None, rows: None, input, _temporary: temporary }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.matrix.rows()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers in a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.matrix.columns()
    }

    /// One row.
    ///
    /// # Panics
    /// When `row` is not below [`Vectors::len`].
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        self.matrix.row(row)
    }

    fn of_npy(path: &Path) -> Result<Self> {
        match npy::element_type(path)?.as_str() {
            "<f8" => {
                let matrix = Matrix::<f64>::open(path)?;
                converted(matrix.columns(), |growing| {
                    for start in (0..matrix.rows()).step_by(4096) {
                        let block = matrix.read(start..matrix.rows().min(start + 4096));
                        growing.append(&block.iter().map(|&x| x as f32).collect::<Vec<_>>())?;
                    }
                    Ok(())
                })
            }
            "<f2" => {
                let matrix = curator_core::Embeddings::open(path)?;
                converted(matrix.columns(), |growing| {
                    for start in (0..matrix.rows()).step_by(4096) {
                        growing.append(&matrix.read(start..matrix.rows().min(start + 4096)))?;
                    }
                    Ok(())
                })
            }
            _ => Ok(Self::new(Matrix::open(path)?, None)),
        }
    }

    fn of_safetensors(path: &Path, name: Option<&str>) -> Result<Self> {
        use safetensors::{Dtype, SafeTensors};
        let bad = |found: &dyn std::fmt::Display| {
            CoreError::damaged(path, "embeddings as .npy, safetensors or Parquet", found)
        };
        let bytes = std::fs::read(path).map_err(CoreError::io("read", path))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| bad(&e))?;
        let mut names = tensors.names();
        names.sort();
        let two = |n: &&str| tensors.tensor(n).is_ok_and(|t| t.shape().len() == 2);
        let chosen = match name {
            Some(name) => name,
            None => names.iter().copied().find(two).ok_or_else(|| bad(&"no tensor of two axes"))?,
        };
        let tensor = tensors.tensor(chosen).map_err(|e| bad(&e))?;
        let &[_, columns] = tensor.shape() else { return Err(bad(&"another shape").into()) };
        let data = tensor.data();
        let floats: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => read::<4>(data).map(f32::from_le_bytes).collect(),
            Dtype::F64 => read::<8>(data).map(|b| f64::from_le_bytes(b) as f32).collect(),
            Dtype::F16 => read::<2>(data).map(|b| half::f16::from_le_bytes(b).to_f32()).collect(),
            Dtype::BF16 => read::<2>(data).map(|b| half::bf16::from_le_bytes(b).to_f32()).collect(),
            other => return Err(bad(&format!("a tensor of {other:?}")).into()),
        };
        if columns == 0 {
            return Err(bad(&"rows without numbers").into());
        }
        converted(columns, |growing| Ok(growing.append(&floats)?))
    }

    fn of_parquet(path: &Path, name: Option<&str>) -> Result<Self> {
        let mut batches = table::read(path)?.peekable();
        let first = match batches.peek() {
            Some(Ok(first)) => first.clone(),
            Some(Err(_)) | None => {
                let error = batches.next().and_then(std::result::Result::err);
                return Err(error.unwrap_or(CoreError::Empty { path: path.into() }).into());
            }
        };
        let names: Vec<String> = first.schema().fields().iter().map(|f| f.name().clone()).collect();
        let among = |wanted: &[&str]| {
            wanted.iter().find(|w| names.iter().any(|n| n == *w)).map(ToString::to_string)
        };
        let column = name.map(str::to_string).or_else(|| among(&VECTOR_COLUMNS));
        let column = column.filter(|c| names.contains(c)).ok_or_else(|| {
            let expected = "a column of embeddings; name it with `--column`";
            CoreError::damaged(path, expected, names.join(", "))
        })?;
        let id = among(&ID_COLUMNS);
        let columns = lists(path, &first, &column)?.1;
        let (mut ids, mut rows) = (Vec::new(), Vec::new());
        let mut vectors = converted(columns, |growing| {
            for batch in batches {
                let batch = batch?;
                let (floats, width) = lists(path, &batch, &column)?;
                if width != columns {
                    let expected = format!("rows of {columns} numbers");
                    return Err(CoreError::damaged(path, expected, width).into());
                }
                growing.append(&floats)?;
                let texts = |name: &str| {
                    batch.column_by_name(name)?.as_any().downcast_ref::<StringArray>().cloned()
                };
                let own = id.as_deref().and_then(texts);
                for row in 0..batch.num_rows() {
                    let id = own.as_ref().filter(|ids| ids.is_valid(row));
                    let id = id.map_or_else(|| ids.len().to_string(), |ids| ids.value(row).into());
                    rows.push(describe(&batch, row, id.clone()));
                    ids.push(id);
                }
            }
            Ok(())
        })?;
        vectors.ids = Some(ids);
        vectors.rows = Some(rows);
        Ok(vectors)
    }
}

/// Fills a temporary matrix of 32 bits.
fn converted(columns: usize, fill: impl FnOnce(&mut Growing) -> Result<()>) -> Result<Vectors> {
    let temporary = tempfile::tempdir().map_err(CoreError::io("create", std::env::temp_dir()))?;
    let path = temporary.path().join("embeddings.npy");
    let mut growing = Growing::open(&path, columns)?;
    fill(&mut growing)?;
    growing.finish()?;
    Ok(Vectors::new(Matrix::open(&path)?, Some(temporary)))
}

fn read<const N: usize>(data: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
    data.as_chunks::<N>().0.iter().copied()
}

/// The numbers of a column of lists, and how many each has.
fn lists(path: &Path, batch: &RecordBatch, name: &str) -> Result<(Vec<f32>, usize)> {
    let bad =
        |found: String| CoreError::damaged(path, format!("lists of floats in `{name}`"), found);
    let column = batch.column_by_name(name).ok_or_else(|| bad("no such column".into()))?;
    let of = |value: &dyn Array| -> Option<Vec<f32>> {
        if let Some(x) = value.as_any().downcast_ref::<Float32Array>() {
            return Some(x.iter().map(|x| x.unwrap_or(f32::NAN)).collect());
        }
        let x = value.as_any().downcast_ref::<Float64Array>()?;
        Some(x.iter().map(|x| x.unwrap_or(f64::NAN) as f32).collect())
    };
    let any = column.as_any();
    let mut floats = Vec::new();
    let mut width = None;
    let mut take = |row: Option<Vec<f32>>| -> Result<()> {
        let row = row.ok_or_else(|| bad(column.data_type().to_string()))?;
        if *width.get_or_insert(row.len()) != row.len() {
            return Err(bad("rows of different lengths".into()).into());
        }
        floats.extend(row);
        Ok(())
    };
    let rows = 0..batch.num_rows();
    let missing = || bad("a row without an embedding".into());
    if let Some(list) = any.downcast_ref::<FixedSizeListArray>() {
        for row in rows {
            take(of(list.is_valid(row).then(|| list.value(row)).ok_or_else(missing)?.as_ref()))?;
        }
    } else if let Some(list) = any.downcast_ref::<ListArray>() {
        for row in rows {
            take(of(list.is_valid(row).then(|| list.value(row)).ok_or_else(missing)?.as_ref()))?;
        }
    } else if let Some(list) = any.downcast_ref::<LargeListArray>() {
        for row in rows {
            take(of(list.is_valid(row).then(|| list.value(row)).ok_or_else(missing)?.as_ref()))?;
        }
    } else {
        return Err(bad(column.data_type().to_string()).into());
    }
    Ok((floats, width.unwrap_or(0)))
}

/// What a row of Parquet says about a tile: our columns' names, and the box of a WKB geometry.
fn describe(batch: &RecordBatch, row: usize, id: String) -> Tile {
    let text = |names: &[&str]| {
        names.iter().find_map(|name| {
            let column = batch.column_by_name(name)?;
            let texts = column.as_any().downcast_ref::<StringArray>()?;
            texts.is_valid(row).then(|| texts.value(row).to_string())
        })
    };
    let number = |name: &str| {
        let column = batch.column_by_name(name)?;
        let any = column.as_any();
        if let Some(x) = any.downcast_ref::<Float64Array>() {
            return x.is_valid(row).then(|| x.value(row));
        }
        let x = any.downcast_ref::<Float32Array>()?;
        x.is_valid(row).then(|| f64::from(x.value(row)))
    };
    let edges = (number("west"), number("south"), number("east"), number("north"));
    let bbox = match edges {
        (Some(w), Some(s), Some(e), Some(n)) => BBox::new(w, s, e, n).ok(),
        _ => batch
            .column_by_name("geometry")
            .and_then(|g| g.as_any().downcast_ref::<BinaryArray>().cloned())
            .filter(|g| g.is_valid(row))
            .and_then(|g| wkb_box(g.value(row))),
    };
    let mut tile = Tile::of_file(id, text(&["class", "label"]));
    tile.layer = text(&["layer", "collection"]);
    tile.time = text(&["time", "date", "datetime"]);
    tile.resolution = text(&["resolution"]);
    tile.cloud_fraction = number("cloud_fraction").map(|x| x as f32);
    tile.bbox = bbox;
    tile
}

/// The box of all coordinates of a little- or big-endian WKB point, polygon or multipolygon; a point gets
/// a box of about a metre.
fn wkb_box(wkb: &[u8]) -> Option<BBox> {
    fn shape(wkb: &mut &[u8], edges: &mut [f64; 4], depth: u8) -> Option<()> {
        let (&order, rest) = wkb.split_first()?;
        *wkb = rest;
        let word = |wkb: &mut &[u8]| -> Option<u32> {
            let (bytes, rest) = wkb.split_first_chunk::<4>()?;
            *wkb = rest;
            Some(if order == 1 { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) })
        };
        let point = |wkb: &mut &[u8], edges: &mut [f64; 4]| -> Option<()> {
            let mut xy = [0.0; 2];
            for value in &mut xy {
                let (bytes, rest) = wkb.split_first_chunk::<8>()?;
                *wkb = rest;
                *value = if order == 1 {
                    f64::from_le_bytes(*bytes)
                } else {
                    f64::from_be_bytes(*bytes)
                };
            }
            let [x, y] = xy;
            *edges = [edges[0].min(x), edges[1].min(y), edges[2].max(x), edges[3].max(y)];
            Some(())
        };
        match word(wkb)? {
            1 => point(wkb, edges),
            3 => {
                for _ in 0..word(wkb)? {
                    for _ in 0..word(wkb)? {
                        point(wkb, edges)?;
                    }
                }
                Some(())
            }
            6 if depth == 0 => {
                for _ in 0..word(wkb)? {
                    shape(wkb, edges, 1)?;
                }
                Some(())
            }
            _ => None,
        }
    }
    let mut edges = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    shape(&mut { wkb }, &mut edges, 0)?;
    let [w, s, e, n] = edges;
    let wide = if w == e || s == n { 5e-6 } else { 0.0 };
    BBox::new(w - wide, s - wide, e + wide, n + wide).ok()
}

/// Ids from a text or CSV file (a line or first column each; a heading named like an id is skipped) or from
/// Parquet.
fn read_ids(path: &Path) -> Result<Vec<String>> {
    let bytes = std::fs::read(path).map_err(CoreError::io("read", path))?;
    if bytes.starts_with(b"PAR1") {
        let mut ids = Vec::new();
        for batch in table::read(path)? {
            let batch = batch?;
            let name = ID_COLUMNS.iter().find(|name| batch.column_by_name(name).is_some());
            let name =
                name.ok_or_else(|| CoreError::damaged(path, "a column `tile_id`", "none"))?;
            let column = table::column::<StringArray>(path, &batch, name)?;
            ids.extend(column.iter().map(|id| id.unwrap_or_default().to_string()));
        }
        return Ok(ids);
    }
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&bytes[..]);
    let mut ids = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| CoreError::damaged(path, "a list of ids", e))?;
        ids.push(record.get(0).unwrap_or_default().to_string());
    }
    if ids.first().is_some_and(|first| ID_COLUMNS.contains(&first.as_str())) {
        ids.remove(0);
    }
    Ok(ids)
}
