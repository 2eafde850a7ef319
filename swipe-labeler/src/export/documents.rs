//! Labels as other programs' JSON documents. Each keeps the tile's id, so that `import` finds its way back.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::{Placed, json};
use crate::{Result, labels};

/// The names that occur, sorted.
fn names<'a>(pictures: &'a [Placed]) -> Vec<&'a str> {
    pictures.iter().map(Placed::name).collect::<BTreeSet<&'a str>>().into_iter().collect()
}

fn number(names: &[&str], name: &str) -> usize {
    names.binary_search(&name).unwrap_or(0)
}

/// COCO: an annotation over the whole picture says what it is (<https://cocodataset.org/#format-data>).
pub(super) fn coco(pictures: &[Placed], output: &Path) -> Result<()> {
    let names = names(pictures);
    let images: Vec<Value> = pictures
        .iter()
        .zip(1..)
        .map(|(p, id)| {
            json!({
                "id": id, "file_name": file(p), "width": p.width, "height": p.height,
                "tile_id": p.tile_id,
            })
        })
        .collect();
    let annotations: Vec<Value> = pictures
        .iter()
        .zip(1..)
        .map(|(p, id)| {
            let (width, height) = (p.width, p.height);
            json!({
                "id": id, "image_id": id, "category_id": number(&names, p.name()) + 1, "iscrowd": 0,
                "bbox": [0, 0, width, height], "area": u64::from(width) * u64::from(height),
                "segmentation": [[0, 0, width, 0, width, height, 0, height]],
                "labelled_by": p.verdict.event.who, "labelled_at": p.verdict.event.at,
            })
        })
        .collect();
    let categories: Vec<Value> =
        names.iter().zip(1..).map(|(name, id)| json!({ "id": id, "name": name })).collect();
    let document = json!({
        "info": { "description": "labelled with swipe-labeler", "version": "1" },
        "licenses": [], "images": images, "annotations": annotations, "categories": categories,
    });
    json(&output.join("labels.json"), &document)
}

/// Label Studio's tasks, an annotation a person (<https://labelstud.io/guide/tasks>). Pictures are served by
/// its local file storage from the folder above.
pub(super) fn label_studio(pictures: &[Placed], output: &Path) -> Result<()> {
    let tasks: Vec<Value> = pictures
        .iter()
        .map(|p| {
            let annotations: Vec<Value> = p
                .verdict
                .judgements
                .iter()
                .chain(p.verdict.settled.then_some(&p.verdict.event))
                .map(|event| {
                    let name = labels::name_of(event.label, &event.class);
                    let choice = json!({
                        "from_name": "label", "to_name": "image", "type": "choices",
                        "value": { "choices": [name] },
                    });
                    json!({
                        "result": [choice], "created_username": event.who, "created_at": event.at,
                        "lead_time": event.milliseconds.map(|m| m as f64 / 1000.0),
                        "ground_truth": event.kind == curator_labeling::Kind::Settle,
                    })
                })
                .collect();
            json!({
                "data": {
                    "image": format!("/data/local-files/?d={}", p.path), "tile_id": p.tile_id,
                },
                "annotations": annotations,
            })
        })
        .collect();
    let choices: Vec<String> = names(pictures)
        .iter()
        .map(|name| format!("    <Choice value=\"{}\"/>\n", escape(name)))
        .collect();
    let view = format!(
        "<View>\n  <Image name=\"image\" value=\"$image\"/>\n  <Choices name=\"label\" toName=\"image\">\n{}  </Choices>\n</View>\n",
        choices.concat()
    );
    curator_core::atomic::write_atomic(&output.join("label-config.xml"), view.as_bytes())?;
    json(&output.join("tasks.json"), &Value::Array(tasks))
}

/// FiftyOne's `FiftyOneImageClassificationDataset`: classes by number, labels by file name without its
/// ending (<https://docs.voxel51.com/user_guide/export_datasets.html>).
pub(super) fn fiftyone(pictures: &[Placed], output: &Path) -> Result<()> {
    let names = names(pictures);
    let by_stem = |value: &dyn Fn(&Placed) -> Value| -> Value {
        pictures
            .iter()
            .map(|p| (p.stem().to_string(), value(p)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let document = json!({
        "classes": names,
        "labels": by_stem(&|p| json!(number(&names, p.name()))),
        "tile_ids": by_stem(&|p| json!(p.tile_id)),
    });
    json(&output.join("labels.json"), &document)
}

/// The file's name inside `data/`.
fn file<'a>(picture: &'a Placed) -> &'a str {
    picture.path.rsplit('/').next().unwrap_or(&picture.path)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
