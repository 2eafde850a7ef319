//! Labels as tables: CSV and Parquet.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, Schema};
use curator_core::{atomic, table};
use curator_labeling::Verdict;

use super::Placed;
use crate::Result;

const COLUMNS: [&str; 9] = [
    "tile_id",
    "label",
    "class",
    "labelled_by",
    "labelled_at",
    "milliseconds",
    "flagged",
    "judges",
    "disputed",
];

type Row<'a> = (&'a str, &'a Verdict, Option<&'a str>);

pub(super) fn to_csv(verdicts: &[(String, Verdict)], output: &Path) -> Result<()> {
    write(output, &COLUMNS, verdicts.iter().map(|(id, verdict)| (id.as_str(), verdict, None)))
}

/// `labels.csv` beside the pictures, with their paths: what `import` finds its way back with.
pub(super) fn beside(pictures: &[Placed], output: &Path) -> Result<()> {
    let columns: Vec<&str> = COLUMNS.into_iter().chain(["path"]).collect();
    let rows = pictures.iter().map(|p| (p.tile_id, p.verdict, Some(p.path.as_str())));
    write(&output.join("labels.csv"), &columns, rows)
}

fn write<'a>(path: &Path, columns: &[&str], rows: impl Iterator<Item = Row<'a>>) -> Result<()> {
    Ok(atomic::write_with(path, |file| {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(columns)?;
        for (tile_id, verdict, path) in rows {
            let event = &verdict.event;
            let milliseconds = event.milliseconds.map(|m| m.to_string()).unwrap_or_default();
            let (judges, yes_no) = (verdict.judgements.len().to_string(), |x: bool| x.to_string());
            let (flag, disputed) = (yes_no(event.flag), yes_no(verdict.disputed));
            let fields = [
                tile_id,
                event.label.name(),
                &event.class,
                &event.who,
                &event.at,
                &milliseconds,
                &flag,
                &judges,
                &disputed,
            ];
            writer.write_record(fields.into_iter().chain(path))?;
        }
        writer.flush()
    })?)
}

pub(super) fn to_parquet(verdicts: &[(String, Verdict)], output: &Path) -> Result<()> {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let schema = Arc::new(Schema::new(vec![
        text("tile_id"),
        text("label"),
        text("class"),
        text("labelled_by"),
        text("labelled_at"),
        Field::new("milliseconds", DataType::Int64, true),
        Field::new("flagged", DataType::Boolean, false),
        Field::new("judges", DataType::UInt32, false),
        Field::new("disputed", DataType::Boolean, false),
    ]));
    let batch = |rows: &[(String, Verdict)]| {
        let strings = |get: &dyn Fn(&(String, Verdict)) -> String| {
            Arc::new(rows.iter().map(|row| Some(get(row))).collect::<StringArray>()) as ArrayRef
        };
        let events = || rows.iter().map(|(_, verdict)| &verdict.event);
        let columns: Vec<ArrayRef> = vec![
            strings(&|(id, _)| id.clone()),
            strings(&|(_, v)| v.event.label.name().into()),
            strings(&|(_, v)| v.event.class.clone()),
            strings(&|(_, v)| v.event.who.clone()),
            strings(&|(_, v)| v.event.at.clone()),
            Arc::new(events().map(|e| e.milliseconds).collect::<Int64Array>()),
            Arc::new(events().map(|e| Some(e.flag)).collect::<BooleanArray>()),
            Arc::new(
                rows.iter().map(|(_, v)| Some(v.judgements.len() as u32)).collect::<UInt32Array>(),
            ),
            Arc::new(rows.iter().map(|(_, v)| Some(v.disputed)).collect::<BooleanArray>()),
        ];
        #[expect(clippy::expect_used, reason = "the columns above are those of the schema")]
        RecordBatch::try_new(schema.clone(), columns).expect("columns match the schema")
    };
    Ok(table::write(output, &schema, &[], verdicts.chunks(8192).map(batch))?)
}
