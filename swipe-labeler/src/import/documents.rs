//! Other programs' JSON documents. Sizes are those of files that the user names; what they contain is not
//! trusted: unknown numbers and missing parts are errors that name the place.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use curator_core::Error as CoreError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Found;
use crate::Result;

/// The document of a folder, or the file itself.
fn read<T: DeserializeOwned>(path: &Path, name: &str, expected: &str) -> Result<(T, PathBuf)> {
    let file = if path.is_dir() { path.join(name) } else { path.to_path_buf() };
    let bytes = std::fs::read(&file).map_err(CoreError::io("read", &file))?;
    let document = serde_json::from_slice(&bytes);
    let document = document.map_err(|e| CoreError::damaged(&file, expected, e))?;
    Ok((document, file.parent().map(Path::to_path_buf).unwrap_or_default()))
}

#[derive(Deserialize)]
struct Coco {
    images: Vec<CocoImage>,
    annotations: Vec<CocoAnnotation>,
    categories: Vec<CocoCategory>,
}
#[derive(Deserialize)]
struct CocoImage {
    id: Value,
    file_name: String,
    tile_id: Option<String>,
}
#[derive(Deserialize)]
struct CocoAnnotation {
    image_id: Value,
    category_id: Value,
    labelled_by: Option<String>,
    labelled_at: Option<String>,
}
#[derive(Deserialize)]
struct CocoCategory {
    id: Value,
    name: String,
}

/// COCO: what most annotations of a picture say.
pub(super) fn coco(path: &Path) -> Result<Vec<Found>> {
    let (document, folder): (Coco, _) =
        read(path, "labels.json", "a COCO document with images, annotations and categories")?;
    let names: HashMap<String, &str> =
        document.categories.iter().map(|c| (c.id.to_string(), c.name.as_str())).collect();
    let mut by_image: HashMap<String, Vec<&CocoAnnotation>> = HashMap::new();
    for annotation in &document.annotations {
        by_image.entry(annotation.image_id.to_string()).or_default().push(annotation);
    }
    let mut labels = Vec::new();
    for image in &document.images {
        let Some(annotations) = by_image.get(&image.id.to_string()) else { continue };
        let votes = |one: &CocoAnnotation| {
            annotations.iter().filter(|other| other.category_id == one.category_id).count()
        };
        let most = annotations.iter().rev().max_by_key(|one| votes(one));
        let Some(one) = most else { continue };
        let name = names.get(&one.category_id.to_string()).ok_or_else(|| {
            CoreError::damaged(path, "a known category", format!("category {}", one.category_id))
        })?;
        labels.push(Found {
            tile_id: image.tile_id.clone(),
            file: Some(folder.join("data").join(&image.file_name)).filter(|file| file.is_file()),
            who: one.labelled_by.clone(),
            at: one.labelled_at.clone(),
            ..Found::of(&image.file_name, name)
        });
    }
    Ok(labels)
}

#[derive(Deserialize)]
struct Task {
    data: HashMap<String, Value>,
    #[serde(default)]
    annotations: Vec<Annotation>,
}
#[derive(Deserialize)]
struct Annotation {
    #[serde(default)]
    result: Vec<Value>,
    created_username: Option<String>,
    completed_by: Option<Value>,
    created_at: Option<String>,
    lead_time: Option<f64>,
    #[serde(default)]
    was_cancelled: bool,
}

/// Label Studio's export: a label for every annotation that chooses something.
pub(super) fn label_studio(path: &Path) -> Result<Vec<Found>> {
    let (tasks, folder): (Vec<Task>, _) =
        read(path, "tasks.json", "a list of Label Studio tasks with data and annotations")?;
    let mut labels = Vec::new();
    for task in &tasks {
        let text = |name: &str| task.data.get(name).and_then(Value::as_str);
        let image = text("image").or_else(|| task.data.values().find_map(Value::as_str));
        let image = image.unwrap_or_default();
        let place = image.split_once("?d=").map_or(image, |(_, place)| place);
        let name = place.rsplit('/').next().unwrap_or(place);
        for annotation in task.annotations.iter().filter(|a| !a.was_cancelled) {
            let choice = annotation
                .result
                .iter()
                .find_map(|result| result.pointer("/value/choices/0").and_then(Value::as_str));
            let Some(choice) = choice else { continue };
            let by = annotation.completed_by.as_ref();
            let by = by.and_then(|by| match by {
                Value::Number(number) => Some(format!("user {number}")),
                other => other.get("email").and_then(Value::as_str).map(str::to_string),
            });
            labels.push(Found {
                tile_id: text("tile_id").map(str::to_string),
                file: Some(folder.join(place)).filter(|file| file.is_file()),
                who: annotation.created_username.clone().or(by),
                at: annotation.created_at.clone(),
                milliseconds: annotation.lead_time.map(|seconds| (seconds * 1000.0).round() as i64),
                ..Found::of(name, choice)
            });
        }
    }
    Ok(labels)
}

#[derive(Deserialize)]
struct FiftyOne {
    classes: Option<Vec<String>>,
    labels: HashMap<String, Value>,
    #[serde(default)]
    tile_ids: HashMap<String, String>,
}

/// FiftyOne's image classification dataset; labels are numbers of classes, names, or objects with a label.
pub(super) fn fiftyone(path: &Path) -> Result<Vec<Found>> {
    let (document, _): (FiftyOne, _) =
        read(path, "labels.json", "a FiftyOne document with classes and labels")?;
    let classes = document.classes.unwrap_or_default();
    let mut stems: Vec<&String> = document.labels.keys().collect();
    stems.sort();
    let mut labels = Vec::new();
    for stem in stems {
        let value = &document.labels[stem];
        let value = value.get("label").unwrap_or(value);
        let name = match value {
            Value::Null => continue,
            Value::String(name) => name.as_str(),
            number => {
                let class = number.as_u64().and_then(|n| classes.get(usize::try_from(n).ok()?));
                class.ok_or_else(|| {
                    let expected = format!("a number below {}", classes.len());
                    CoreError::damaged(path, expected, format!("{number} for `{stem}`"))
                })?
            }
        };
        let tile_id = document.tile_ids.get(stem).cloned();
        labels.push(Found { tile_id, ..Found::of(stem, name) });
    }
    Ok(labels)
}
