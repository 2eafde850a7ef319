//! In which order pictures are asked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use arrow_array::{Array, Float32Array, Float64Array, StringArray};
use curator_core::{Error as CoreError, seed, table};

use crate::Result;
use crate::deck::hash;
use crate::names::Names;

/// In which order pictures are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// As they are listed.
    Name,
    /// By chance; the same for the same seed, whatever is added later.
    Random(u64),
    /// The most uncertain first, by a CSV or Parquet file with `tile_id` and `uncertainty` (more is asked
    /// first), or `probability` or `score` (nearest to one half first). What is not in it comes last.
    Scores(PathBuf),
    /// Only those of a file, in its order: a line a tile, or CSV with a column `tile_id`. The file may
    /// change while people label.
    Listed(PathBuf),
}

impl Order {
    /// The rows to ask, in order; for lists also how many of its lines are no tile here.
    pub(crate) fn rows(&self, names: &Names) -> Result<(Vec<u32>, usize)> {
        let all = || (0..names.len() as u32).collect::<Vec<u32>>();
        let id = |row: u32| names.get(row).unwrap_or_default();
        Ok(match self {
            Self::Name => (all(), 0),
            Self::Random(seed) => {
                let key = |row| (seed::mix(*seed, &[hash(id(row))]), row);
                let mut keys: Vec<(u64, u32)> = (0..names.len() as u32).map(key).collect();
                keys.sort_unstable();
                (keys.into_iter().map(|(_, row)| row).collect(), 0)
            }
            Self::Scores(path) => {
                let scores = read_scores(path)?;
                let score = |row: u32| scores.get(&hash(id(row))).copied();
                let mut rows = all();
                rows.sort_by_cached_key(|&row| {
                    let score = score(row).filter(|s| s.is_finite());
                    (score.is_none(), OrderedF32(score.map_or(0.0, |s| -s)), row)
                });
                (rows, 0)
            }
            Self::Listed(path) => {
                let (mut rows, mut unknown) = (Vec::new(), 0);
                let mut seen = vec![false; names.len()];
                for listed in read_list(path)? {
                    match names.find(&listed) {
                        Some(row) if std::mem::replace(&mut seen[row as usize], true) => {}
                        Some(row) => rows.push(row),
                        None => unknown += 1,
                    }
                }
                (rows, unknown)
            }
        })
    }

    /// The file it is read from.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Listed(path) | Self::Scores(path) => Some(path),
            Self::Name | Self::Random(_) => None,
        }
    }
}

#[derive(PartialEq)]
struct OrderedF32(f32);
impl Eq for OrderedF32 {}
impl PartialOrd for OrderedF32 {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for OrderedF32 {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

fn read_list(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(CoreError::io("read", path))?;
    let first = text.lines().next().unwrap_or_default();
    let header: Vec<&str> = first.split(',').map(|name| name.trim().trim_matches('"')).collect();
    if !header.contains(&"tile_id") {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        return Ok(lines.map(str::to_string).collect());
    }
    let damaged = |e: csv::Error| CoreError::damaged(path, "CSV with a column `tile_id`", e);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().map_err(damaged)?.clone();
    let column = headers.iter().position(|name| name == "tile_id").unwrap_or(0);
    let ids = reader.records().map(|row| Ok(row.map_err(damaged)?[column].to_string()));
    ids.collect()
}

/// What makes a number an uncertainty.
type Reading = fn(f32) -> f32;
const COLUMNS: [(&str, Reading); 3] = [
    ("uncertainty", |x| x),
    ("probability", |x| -(x - 0.5).abs()),
    ("score", |x| -(x - 0.5).abs()),
];
const EXPECTED: &str = "columns `tile_id` and `uncertainty`, `probability` or `score`";

/// Uncertainty by hash of the id.
fn read_scores(path: &Path) -> Result<HashMap<u64, f32>> {
    if path.extension().is_some_and(|extension| extension == "parquet") {
        return read_scores_table(path);
    }
    let file = std::fs::File::open(path).map_err(CoreError::io("read", path))?;
    let damaged = |e: csv::Error| CoreError::damaged(path, EXPECTED, e);
    let mut reader = csv::Reader::from_reader(std::io::BufReader::new(file));
    let headers = reader.headers().map_err(damaged)?.clone();
    let place = |name: &str| headers.iter().position(|header| header == name);
    let id = place("tile_id");
    let value = COLUMNS.iter().find_map(|(name, reading)| Some((place(name)?, reading)));
    let (Some(id), Some((value, reading))) = (id, value) else {
        let found = headers.iter().collect::<Vec<_>>().join(", ");
        return Err(CoreError::damaged(path, EXPECTED, found).into());
    };
    let mut scores = HashMap::new();
    for row in reader.records() {
        let row = row.map_err(damaged)?;
        if let Ok(number) = row[value].trim().parse() {
            scores.insert(hash(&row[id]), reading(number));
        }
    }
    Ok(scores)
}

fn read_scores_table(path: &Path) -> Result<HashMap<u64, f32>> {
    let mut scores = HashMap::new();
    for batch in table::read(path)? {
        let batch = batch?;
        let ids = table::column::<StringArray>(path, &batch, "tile_id")?;
        let found = COLUMNS.iter().find_map(|(name, reading)| {
            batch.column_by_name(name).map(|column| (column.clone(), reading))
        });
        let Some((column, reading)) = found else {
            return Err(CoreError::damaged(path, EXPECTED, "other columns").into());
        };
        let single = column.as_any().downcast_ref::<Float32Array>();
        let double = column.as_any().downcast_ref::<Float64Array>();
        for row in (0..batch.num_rows()).filter(|&row| column.is_valid(row)) {
            let number = match (single, double) {
                (Some(single), _) => single.value(row),
                (_, Some(double)) => double.value(row) as f32,
                _ => {
                    let found = column.data_type();
                    return Err(CoreError::damaged(path, "numbers as scores", found).into());
                }
            };
            scores.insert(hash(ids.value(row)), reading(number));
        }
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        for id in ["a", "b", "c, d", "e"] {
            names.add(id);
        }
        names
    }

    #[test]
    fn files_of_every_kind_give_the_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let rows = |order: Order| order.rows(&names()).unwrap();
        let lines = file("queue.txt", "e\n\nb\nno such tile\ne\n");
        assert_eq!(rows(Order::Listed(lines)), (vec![3, 1], 1));
        let listed = file("queue.csv", "class,tile_id\nx,\"c, d\"\ny,a\n");
        assert_eq!(rows(Order::Listed(listed)), (vec![2, 0], 0));
        let scores = file("s.csv", "tile_id,probability\na,0.9\nb,0.45\n\"c, d\",0.2\n");
        assert_eq!(rows(Order::Scores(scores)).0, [1, 2, 0, 3]);
        let scores = file("u.csv", "tile_id,uncertainty\na,1\ne,7\nb,NaN\n");
        assert_eq!(rows(Order::Scores(scores)).0, [3, 0, 1, 2]);
        assert!(Order::Scores(file("bad.csv", "tile,p\n")).rows(&names()).is_err());
    }

    #[test]
    fn chance_does_not_depend_on_what_is_added_later() {
        let (mut rows, more) = (Order::Random(3).rows(&names()).unwrap().0, {
            let mut names = names();
            names.add("later");
            Order::Random(3).rows(&names).unwrap().0
        });
        rows.insert(more.iter().position(|&row| row == 4).unwrap(), 4);
        assert_eq!(rows, more);
    }
}
