//! Which tiles may be chosen, and how much each counts: exclusions and weights.

use std::path::Path;

use arrow_array::{Array, Float32Array, Float64Array, StringArray};
use curator_core::manifest::Input;
use curator_core::{Error as CoreError, TileSet, digest, table};

use super::ids::{self, Lookup};
use crate::{Error, Result};

/// Tiles that may be chosen.
pub(crate) struct Eligible {
    /// Their numbers, ascending.
    pub(crate) tiles: Vec<u32>,
    /// A weight above 0 for each, when weights were given.
    pub(crate) weights: Option<Vec<f32>>,
    /// What should be said about the lists.
    pub(crate) remarks: Vec<String>,
}

impl Eligible {
    /// All tiles but those excluded and those of weight 0. Tiles without a weight count 1.
    pub(crate) fn read(
        set: &TileSet,
        weights: Option<&Path>,
        exclude: Option<&Path>,
    ) -> Result<Self> {
        let all = 0..u32::try_from(set.len()).map_err(|_| {
            CoreError::damaged(set.root(), "fewer than four billion tiles", set.len())
        })?;
        if weights.is_none() && exclude.is_none() {
            return Ok(Self { tiles: all.collect(), weights: None, remarks: Vec::new() });
        }
        let own = ids::of_set(set)?;
        let known = Lookup::new(own.iter().map(|&id| (id, ())));
        let mut remarks = Vec::new();
        let excluded = match exclude {
            None => Lookup::new([]),
            Some(path) => {
                let ids = excluded_ids(path)?;
                let of_others = path.is_dir();
                remarks.extend(unknown(path, &ids, &known, of_others)?);
                Lookup::new(ids.iter().map(|id| (ids::number(id), ())))
            }
        };
        let listed = match weights {
            None => None,
            Some(path) => {
                let pairs = read_weights(path)?;
                let names: Vec<String> = pairs.iter().map(|pair| pair.0.clone()).collect();
                remarks.extend(unknown(path, &names, &known, false)?);
                Some(Lookup::new(pairs.iter().map(|(id, weight)| (ids::number(id), *weight))))
            }
        };
        let weight = |id| listed.as_ref().and_then(|l| l.get(id)).unwrap_or(1.0);
        let tiles: Vec<u32> = all
            .filter(|&tile| {
                let id = own[tile as usize];
                excluded.get(id).is_none() && weight(id) > 0.0
            })
            .collect();
        let weights = listed
            .is_some()
            .then(|| tiles.iter().map(|&tile| weight(own[tile as usize])).collect());
        Ok(Self { tiles, weights, remarks })
    }

    /// Keeps some of the tiles.
    pub(crate) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let kept: Vec<bool> = self.tiles.iter().map(|&tile| keep(tile)).collect();
        let mut flags = kept.iter();
        self.tiles.retain(|_| *flags.next().unwrap_or(&false));
        if let Some(weights) = &mut self.weights {
            let mut flags = kept.iter();
            weights.retain(|_| *flags.next().unwrap_or(&false));
        }
    }
}

/// A list as an input, so that another list makes another subset.
pub(crate) fn input(path: &Path) -> Result<Input> {
    if path.is_dir() {
        return Ok(TileSet::open(path)?.input());
    }
    let digest = digest::of_file(path)?;
    Ok(Input { format: "file".into(), path: path.display().to_string(), digest })
}

/// A remark about ids that are no tiles of the set; an error when none is.
fn unknown(
    path: &Path,
    ids: &[String],
    known: &Lookup<()>,
    of_others: bool,
) -> Result<Option<String>> {
    let mut strange = ids.iter().filter(|id| known.get(ids::number(id)).is_none());
    let Some(example) = strange.next() else { return Ok(None) };
    let count = strange.count() + 1;
    if of_others {
        return Ok(None);
    }
    if count == ids.len() {
        return Err(Error::UnknownIds { path: path.into(), example: example.clone() });
    }
    let (all, path) = (ids.len(), path.display());
    Ok(Some(format!("{count} of the {all} ids in `{path}` are no tiles here, such as `{example}`")))
}

/// The ids of a tiles directory, of the column `tile_id` of a `.csv` or `.parquet`, or of a text file's
/// lines.
fn excluded_ids(path: &Path) -> Result<Vec<String>> {
    if path.is_dir() {
        let set = TileSet::open(path)?;
        return Ok(set.rows().map(|row| Ok(row?.tile_id)).collect::<curator_core::Result<_>>()?);
    }
    match ending(path).as_str() {
        "csv" => {
            let mut ids = Vec::new();
            read_csv(path, &["tile_id"], |fields, _| {
                ids.push(fields[0].to_string());
                Ok(())
            })?;
            Ok(ids)
        }
        "parquet" => {
            let mut ids = Vec::new();
            for batch in table::read(path)? {
                let batch = batch?;
                let column = table::column::<StringArray>(path, &batch, "tile_id")?;
                ids.extend(column.iter().flatten().map(str::to_string));
            }
            Ok(ids)
        }
        _ => {
            let text = std::fs::read(path).map_err(CoreError::io("read", path))?;
            let text = String::from_utf8(text)
                .map_err(|_| CoreError::damaged(path, "text, an id a line", "other bytes"))?;
            let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
            Ok(lines.map(str::to_string).collect())
        }
    }
}

/// Ids with their weights, from the columns `tile_id` and `weight`.
fn read_weights(path: &Path) -> Result<Vec<(String, f32)>> {
    let mut pairs = Vec::new();
    let mut push = |id: &str, weight: f64, row: u64| {
        let narrow = weight as f32;
        if !narrow.is_finite() || weight < 0.0 {
            return Err(Error::Weight { path: path.into(), row, weight: weight.to_string() });
        }
        pairs.push((id.to_string(), narrow));
        Ok(())
    };
    if ending(path) == "parquet" {
        let mut row = 0;
        for batch in table::read(path)? {
            let batch = batch?;
            let ids = table::column::<StringArray>(path, &batch, "tile_id")?;
            let singles = table::column::<Float32Array>(path, &batch, "weight");
            let doubles = match &singles {
                Ok(_) => None,
                Err(_) => Some(table::column::<Float64Array>(path, &batch, "weight")?),
            };
            for i in 0..batch.num_rows() {
                row += 1;
                let weight = match (&singles, doubles) {
                    (Ok(column), _) if column.is_valid(i) => f64::from(column.value(i)),
                    (_, Some(column)) if column.is_valid(i) => column.value(i),
                    _ => f64::NAN,
                };
                push(ids.value(i), weight, row)?;
            }
        }
    } else {
        read_csv(path, &["tile_id", "weight"], |fields, row| {
            let weight = fields[1].trim();
            let Ok(number) = weight.parse() else {
                return Err(Error::Weight { path: path.into(), row, weight: weight.into() });
            };
            push(fields[0], number, row)
        })?;
    }
    Ok(pairs)
}

/// Reads named columns of a CSV file with a header, row by row.
fn read_csv(
    path: &Path,
    columns: &[&str],
    mut row: impl FnMut(&[&str], u64) -> Result<()>,
) -> Result<()> {
    let file = std::fs::File::open(path).map_err(CoreError::io("read", path))?;
    let mut reader = csv::Reader::from_reader(std::io::BufReader::new(file));
    let damaged = |error: csv::Error| CoreError::damaged(path, "a table with a header", error);
    let header = reader.headers().map_err(damaged)?.clone();
    let places: Vec<usize> = columns
        .iter()
        .map(|name| {
            header.iter().position(|column| column.trim() == *name).ok_or_else(|| {
                let found = header.iter().collect::<Vec<_>>().join(",");
                CoreError::damaged(path, format!("a column `{name}`"), format!("`{found}`"))
            })
        })
        .collect::<Result<_, CoreError>>()?;
    for (number, record) in reader.records().enumerate() {
        let record = record.map_err(damaged)?;
        let fields: Vec<&str> = places.iter().map(|&at| record.get(at).unwrap_or("")).collect();
        row(&fields, number as u64 + 1)?;
    }
    Ok(())
}

fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}
