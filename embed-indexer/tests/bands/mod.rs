//! Pictures of five bands: a model that looks at some of them embeds the index and the query alike.

use curator_core::bands::Band;
use curator_core::georeference::Georeference;
use curator_core::samples::{Kind, Samples};
use curator_core::{Bands, Context, DeviceChoice, seed};
use curator_nn::{Arch, Encoder, EncoderConfig};
use embed_indexer::build::{self, BuildConfig, Place};
use embed_indexer::search::{Query, Searcher, read_images};

/// Only the fourth and the fifth band differ from picture to picture.
fn picture(number: u64) -> Samples {
    let data = (0..24 * 24_u64).flat_map(|p| {
        let sample = |band| (seed::mix(number, &[p / 36, band]) % 9000) as f32;
        [7.0, 7.0, 7.0, sample(4), sample(5)]
    });
    let (kind, place, data) = (Kind::U16, Georeference::Absent, data.collect());
    Samples { width: 24, height: 24, bands: 5, kind, data, no_data: None, alpha: false, place }
}

#[test]
fn bands_beyond_three_are_embedded_and_searched_alike() {
    let dir = tempfile::tempdir().unwrap();
    let [tiles, model, output] = ["tiles", "model", "index"].map(|name| dir.path().join(name));
    std::fs::create_dir(&tiles).unwrap();
    for i in 0..20 {
        std::fs::write(tiles.join(format!("{i:02}.tif")), picture(i).encode().unwrap()).unwrap();
    }
    let band = |number| Band { number, black: 0.0, white: 9000.0 };
    let config = EncoderConfig {
        bands: 2,
        mean: vec![0.5; 2],
        std: vec![0.25; 2],
        look: Some(Bands(vec![band(5), band(4)])),
        ..EncoderConfig::rgb(Arch::MiniCnn(16), 32)
    };
    Encoder::init(config, 3, curator_nn::tch::Device::Cpu).save(&model).unwrap();
    let place = Place {
        tiles: Some(tiles.clone()),
        models: vec![model.as_path().into()],
        given: None,
        output: output.clone(),
        device: DeviceChoice::Cpu,
        force: false,
    };
    let silent = Context::silent();
    assert_eq!(build::run(&BuildConfig::default(), &place, &silent).unwrap().new, 20);
    let searcher = Searcher::open(&output, None, DeviceChoice::Cpu).unwrap();
    for i in [0, 13] {
        let name = format!("{i:02}.tif");
        let images = read_images(&[tiles.join(&name)], None, &searcher, &silent).unwrap();
        assert_eq!(images[0].bands, 2);
        let hits = searcher.search(&Query { images, k: 2, ..Query::default() }).unwrap();
        assert_eq!(hits[0].tile_id, name);
        assert!(hits[0].score > 0.9999 && hits[1].score < 0.9999, "{hits:?}");
    }
}
