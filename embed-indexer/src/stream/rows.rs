//! The rows of a published index: what answers show, what filters look at, and where tiles and places are.

use std::collections::HashMap;
use std::path::Path;

use arrow_array::RecordBatch;
use curator_core::columns;
use curator_core::index::Facts;
use curator_core::{Tile, TileSet, Transform};
use rayon::prelude::*;

use super::ids::{self, Ids};
use super::open::Streamed;
use super::part::COLUMNS;
use super::pieces::Piece;
use super::reach::chunks;
use super::{describe, part};
use crate::ann::{Hits, Kind};
use crate::engine::Among;
use crate::find;
use crate::models::ModelChoice;
use crate::search::span::{Admits, Span};
use crate::search::store::{ModelFiles, Store, part_of};
use crate::search::{EDGES, Filter, Missing, Rows, Showing, Stretch, Traffic};
use crate::{Error, Result};

impl Store for Streamed {
    fn root(&self) -> &Path {
        self.pieces.name()
    }

    fn digest(&self) -> String {
        self.manifest.inputs.first().map(|input| input.digest.clone()).unwrap_or_default()
    }

    fn facts(&self) -> &Facts {
        &self.description.index
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn len(&self) -> usize {
        self.len
    }

    fn parts(&self) -> &[Stretch] {
        &self.parts
    }

    fn has_places(&self) -> bool {
        self.description.parts.iter().any(|part| part.spans.iter().any(Span::has_places))
    }

    fn models(&self) -> Result<ModelFiles> {
        let place = std::env::temp_dir();
        let io = |e: std::io::Error| curator_core::Error::io("write", &place)(e);
        let temporary = tempfile::tempdir().map_err(io)?;
        let paths: Vec<&str> = self.model_files().map(|part| part.path.as_str()).collect();
        for (path, bytes) in paths.iter().zip(self.whole(&paths)?) {
            let file = curator_core::manifest::part_path(temporary.path(), path)?;
            std::fs::create_dir_all(file.parent().unwrap_or(&file)).map_err(io)?;
            std::fs::write(file, bytes).map_err(io)?;
        }
        let names = self.model_names();
        let several = names.len() > 1;
        let choice = |name: String| ModelChoice {
            path: temporary.path().join(describe::MODELS).join(&name),
            resolution: several.then_some(name),
        };
        let choices = names.into_iter().map(choice).collect();
        Ok(ModelFiles { choices, _temporary: Some(temporary) })
    }

    fn model_names(&self) -> Vec<String> {
        let name =
            |part: &curator_core::manifest::Part| part.path.split('/').nth(1).map(str::to_string);
        let mut names: Vec<String> = self.model_files().filter_map(name).collect();
        names.sort();
        names.dedup();
        names
    }

    fn transform(&self) -> Option<&Transform> {
        self.transform.as_ref()
    }

    fn pictures(&self, elsewhere: Option<&Path>) -> Result<Option<TileSet>> {
        let mut recorded = self.description.tiles.iter();
        let first = recorded.next().map(Path::new);
        let Some(first) = elsewhere.or(first) else { return Ok(None) };
        let first = TileSet::open(first)?;
        let others = recorded.map(|path| Ok(TileSet::open(Path::new(path))?));
        let others = others.collect::<Result<Vec<_>>>()?;
        Ok(Some(if others.is_empty() { first } else { first.with_others(others) }))
    }

    fn nearest(&self, query: &[f32], k: usize, among: Option<&Among>) -> Result<Hits> {
        find::nearest(self, query, k, among)
    }

    fn embeddings(&self, rows: &[usize]) -> Result<Vec<f32>> {
        let mut embeddings = Vec::with_capacity(rows.len() * self.dim);
        for (row, numbers) in rows.iter().zip(self.numbers_of(rows)?) {
            let (tile_id, index) = (row.to_string(), self.root().into());
            embeddings.extend(numbers.ok_or(Error::UnknownTile { tile_id, index })?);
        }
        Ok(embeddings)
    }

    fn tiles(&self, rows: &[usize]) -> Result<Vec<Option<Tile>>> {
        let places: Vec<Option<(usize, usize)>> =
            rows.iter().map(|&row| part_of(&self.parts, row)).collect();
        let mut blocks: Vec<(usize, usize)> = places
            .iter()
            .flatten()
            .map(|&(part, local)| (part, self.heads[part].block(local).0))
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        let piece = |&(part, block): &(usize, usize)| self.heads[part].block(block * part::BLOCK).1;
        let pieces: Vec<Piece> = blocks.iter().map(piece).collect();
        let read: Vec<_> = blocks.into_iter().zip(self.pieces.read(&pieces)?).collect();
        let opened: HashMap<(usize, usize), RecordBatch> = read
            .into_par_iter()
            .filter_map(|((part, block), bytes)| {
                let bytes = self.usable(part, bytes)?;
                let place = self.place_of(part);
                match self.heads[part].open_block(&place, block, &bytes) {
                    Ok(batch) => Some(((part, block), batch)),
                    Err(error) => {
                        self.usable(part, Err(error.to_string()));
                        None
                    }
                }
            })
            .collect();
        let tile = |place: &Option<(usize, usize)>| {
            let Some((part, local)) = *place else { return Ok(None) };
            let block = opened.get(&(part, local / part::BLOCK));
            let within = local % part::BLOCK;
            let Some(batch) = block.filter(|batch| within < batch.num_rows()) else {
                return Ok(None);
            };
            let tiles = columns::tiles(&self.place_of(part), &batch.slice(within, 1))?;
            Ok(tiles.into_iter().next())
        };
        places.iter().map(tile).collect()
    }

    fn admitted(&self, filter: &Filter) -> Result<Among> {
        let mut bits: Vec<Vec<u8>> =
            self.parts.iter().map(|part| vec![0; part.rows.div_ceil(8)]).collect();
        self.look(
            filter.columns(),
            |span| span.admits(filter),
            |part, start, found| match found {
                Found::All(rows) => {
                    let all = start..start + rows;
                    all.for_each(|row| bits[part][row / 8] |= 1 << (row % 8));
                    Ok(())
                }
                Found::Batch(place, batch) => filter.mark(place, batch, start, &mut bits[part]),
            },
        )?;
        Ok(Among::of(bits))
    }

    fn rows_of(&self, tile_ids: &[String]) -> Result<Vec<Option<usize>>> {
        if tile_ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids = self.ids()?;
        let buckets: Vec<Option<Piece>> = tile_ids.iter().map(|id| ids.bucket(id)).collect();
        let pieces: Vec<Piece> = buckets.iter().copied().flatten().collect();
        let mut read = self.pieces.read(&pieces)?.into_iter();
        let mut asked: Vec<(usize, usize)> = Vec::new();
        for (at, bucket) in buckets.iter().enumerate() {
            if let Some(bytes) = bucket.and_then(|_| read.next()) {
                let bytes = bytes.map_err(|reason| self.unreadable(reason))?;
                let rows = ids::candidates(&bytes, &tile_ids[at]);
                asked.extend(rows.into_iter().map(|row| (at, row)));
            }
        }
        // Of tiles with the same id the last, as on this machine.
        let rows: Vec<usize> = asked.iter().map(|asked| asked.1).collect();
        let mut found = vec![None; tile_ids.len()];
        for ((at, row), tile) in asked.into_iter().zip(self.tiles(&rows)?) {
            if tile.is_some_and(|tile| tile.tile_id == tile_ids[at]) {
                found[at] = found[at].max(Some(row));
            }
        }
        Ok(found)
    }

    fn showing(&self, lon: f64, lat: f64, filter: &Filter) -> Result<Option<usize>> {
        let mut showing = Showing::of(lon, lat);
        let may = |span: &Span| {
            let admits = span.admits(filter);
            if span.may_show(lon, lat) { admits.min(Admits::Some) } else { Admits::None }
        };
        let names = EDGES.into_iter().chain(["time"]).collect();
        self.look(names, may, |part, start, found| {
            let Found::Batch(place, batch) = found else { return Ok(()) };
            let rows = Rows::of(place, batch)?;
            for i in 0..batch.num_rows() {
                let row = rows.row(i);
                if let Some(own) = row.bbox.filter(|own| showing.is_in(own))
                    && filter.admits_row(&row)
                {
                    showing.offer(self.parts[part].first_row + start + i, &own, row.time);
                }
            }
            Ok(())
        })?;
        Ok(showing.row())
    }

    fn missing(&self) -> Vec<Missing> {
        self.damaged()
    }

    fn traffic(&self) -> Option<Traffic> {
        Some(self.pieces.traffic())
    }
}

/// What is known of a batch's rows.
enum Found<'a> {
    /// All of so many.
    All(usize),
    /// Their columns, and where they are from.
    Batch(&'a Path, &'a RecordBatch),
}

impl Streamed {
    /// Looks at columns of all batches, as far as their spans do not tell enough. `see` gets the part, the first row
    /// and what there is.
    fn look(
        &self,
        names: Vec<&str>,
        admits: impl Fn(&Span) -> Admits,
        mut see: impl FnMut(usize, usize, Found) -> Result<()>,
    ) -> Result<()> {
        let wanted: Vec<usize> =
            (0..COLUMNS.len()).filter(|&column| names.contains(&COLUMNS[column])).collect();
        let mut open: Vec<(usize, usize)> = Vec::new();
        for (part, head) in self.heads.iter().enumerate() {
            let spans = &self.description.parts[self.numbers[part]].spans;
            for (batch, span) in spans.iter().enumerate() {
                let rows = head.shape.batch(batch);
                match admits(span) {
                    Admits::None => {}
                    Admits::Some => open.push((part, batch)),
                    Admits::All => see(part, rows.start, Found::All(rows.len()))?,
                }
            }
        }
        let pieces = |&(part, batch): &(usize, usize)| -> Vec<Piece> {
            wanted.iter().map(|&column| self.heads[part].column(batch, column)).collect()
        };
        let bytes = |at: &(usize, usize)| pieces(at).iter().map(|p| u64::from(p.length)).sum();
        for chunk in chunks(&open, bytes) {
            let asked: Vec<Piece> = chunk.iter().flat_map(pieces).collect();
            let mut read = self.pieces.read(&asked)?.into_iter();
            for &(part, batch) in chunk {
                let columns: Vec<_> = wanted
                    .iter()
                    .zip(read.by_ref())
                    .filter_map(|(&column, bytes)| Some((column, self.usable(part, bytes)?)))
                    .collect();
                if columns.len() < wanted.len() {
                    continue;
                }
                let place = self.place_of(part);
                match self.heads[part].open_columns(&place, batch, &columns) {
                    Ok(found) => {
                        let start = self.heads[part].shape.batch(batch).start;
                        see(part, start, Found::Batch(&place, &found))?;
                    }
                    Err(error) => drop(self.usable(part, Err(error.to_string()))),
                }
            }
        }
        Ok(())
    }

    /// The table of ids, read once.
    fn ids(&self) -> Result<&Ids> {
        if let Some(ids) = self.ids.get() {
            return Ok(ids);
        }
        let head = 0..Ids::head(self.len);
        let fetched = self.pieces.remote.ranges(vec![(ids::PATH, head)]).into_iter().next();
        let bytes = match fetched {
            Some(Ok(fetched)) => fetched.bytes,
            Some(Err(super::remote::Failure::Store(error))) => return Err(error),
            Some(Err(super::remote::Failure::Damage(reason))) => {
                return Err(self.unreadable(reason));
            }
            None => return Err(self.unreadable("unread".into())),
        };
        let place = self.pieces.name().join(ids::PATH);
        let ids = Ids::read(&place, &bytes, self.len, self.ids_file)?;
        Ok(self.ids.get_or_init(|| ids))
    }

    fn unreadable(&self, reason: String) -> Error {
        let place = self.pieces.name().join(describe::PATH).with_file_name(ids::PATH);
        curator_core::Error::damaged(place, "ids of tiles", reason).into()
    }
}
