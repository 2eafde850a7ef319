//! What is known of a tile, compactly.

use std::collections::HashMap;

use curator_core::tile::Brief;
use curator_core::tileset::Place;
use curator_core::{BBox, Tile};

/// What is known of a tile of a `tiles/` directory or of records: 112 bytes.
pub(super) struct Facts {
    place: Place,
    texts: [u32; 4], // layer, time, resolution, variant
    pub(super) bbox: [f64; 4],
    size: [u32; 2],
    content: [u8; 32],
}

/// Texts that many tiles share.
#[derive(Default, Clone)]
pub(super) struct Texts {
    all: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Texts {
    pub(super) fn number(&mut self, text: Option<&str>) -> u32 {
        let Some(text) = text else { return u32::MAX };
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.all.len() as u32;
        self.all.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Those from a number on.
    pub(super) fn since(&self, number: usize) -> Vec<String> {
        self.all.get(number..).unwrap_or_default().to_vec()
    }

    pub(super) fn get(&self, number: u32) -> Option<&String> {
        self.all.get(number as usize)
    }
}

impl Facts {
    pub(super) fn of(tile: Brief<'_>, texts: &mut Texts) -> Self {
        let numbers = [tile.layer, tile.time, tile.resolution].map(|text| texts.number(text));
        let [layer, time, resolution] = numbers;
        let bbox = tile.bbox.map_or([f64::NAN; 4], |b| [b.west, b.south, b.east, b.north]);
        let mut content = [0; 32];
        let nibble = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
        for (byte, digits) in content.iter_mut().zip(tile.content_id.as_bytes().chunks_exact(2)) {
            *byte = nibble(digits[0]) << 4 | nibble(digits[1]);
        }
        Self {
            texts: [layer, time, resolution, texts.number(Some(tile.variant))],
            bbox,
            size: [tile.width, tile.height],
            content,
            place: tile.location.into(),
        }
    }

    /// Number of the layer's text.
    pub(super) fn layer(&self) -> u32 {
        self.texts[0]
    }

    /// Number of the time's text.
    pub(super) fn time(&self) -> u32 {
        self.texts[1]
    }

    pub(super) fn tile(&self, id: &str, texts: &Texts) -> Tile {
        let [west, south, east, north] = self.bbox;
        let content = self.content.iter().any(|&byte| byte != 0);
        let hex = || self.content.iter().map(|byte| format!("{byte:02x}")).collect();
        let [layer, time, resolution, variant] =
            self.texts.map(|number| texts.get(number).cloned());
        Tile {
            tile_id: id.into(),
            location: (&self.place).into(),
            layer,
            time,
            resolution,
            variant: variant.unwrap_or_default(),
            content_id: if content { hex() } else { String::new() },
            bbox: west.is_finite().then_some(BBox { west, south, east, north }),
            width: self.size[0],
            height: self.size[1],
            ..Tile::of_file(String::new(), None)
        }
    }
}
