//! Layers that tell about another layer, by their names: masks of swath gaps as GIBS has them
//! (`MODIS_Terra_Data_No_Data` for every layer of `MODIS_Terra_…`), and what `composite` writes.

use curator_core::mosaic::{Key, Scene, Scenes};

/// Opaque where a layer has no data.
pub(crate) const NO_DATA: &str = "_Data_No_Data";
/// Grey is the number of the day, from 1, that a composite's pixel is of.
pub(crate) const SOURCE_DATE: &str = "_Source_Date";
/// Grey is the probability of cloud, 0 to 250; transparent where nothing was seen.
pub(crate) const CLOUD_PROBABILITY: &str = "_Cloud_Probability";

/// Whether a layer is no picture of the Earth but tells about one.
pub(crate) fn is_companion(layer: &str) -> bool {
    [NO_DATA, SOURCE_DATE, CLOUD_PROBABILITY].iter().any(|ending| layer.ends_with(ending))
}

/// The planes that show the Earth.
pub(crate) fn pictures(scenes: &Scenes) -> impl Iterator<Item = &Scene> {
    scenes.all().iter().filter(|scene| !is_companion(&scene.key.layer))
}

/// The mask of the gaps of a plane: same time, same grid, the longest name that fits.
pub(crate) fn no_data(scenes: &Scenes, scene: &Scene) -> Option<Scene> {
    let level = scene.key.level + u32::from(scene.reduction);
    let fits = |other: &&Scene| {
        let same = (&other.key.time, &other.key.matrix_set, other.key.level)
            == (&scene.key.time, &scene.key.matrix_set, level);
        same && other.key.layer.strip_suffix(NO_DATA).is_some_and(|instrument| {
            let rest = scene.key.layer.strip_prefix(instrument);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        })
    };
    let mask = scenes.all().iter().filter(fits).max_by_key(|other| other.key.layer.len());
    mask.and_then(|mask| mask.reduced(scene.reduction))
}

/// The probabilities of cloud of a plane, in a directory that `composite` wrote.
pub(crate) fn clouds(masks: &Scenes, scene: &Scene) -> Option<Scene> {
    let level = scene.key.level + u32::from(scene.reduction);
    let key = Key {
        layer: format!("{}{CLOUD_PROBABILITY}", scene.key.layer),
        level,
        ..scene.key.clone()
    };
    masks.find(&key)?.reduced(scene.reduction)
}
