//! Which of many rows shows a place.

use curator_core::BBox;

/// Of the rows offered the one whose centre is nearest, of equals the latest.
pub(crate) struct Showing {
    lon: f64,
    lat: f64,
    best: Option<(f64, String, usize)>,
}

impl Showing {
    pub(crate) fn of(lon: f64, lat: f64) -> Self {
        Self { lon, lat, best: None }
    }

    /// Whether an area has the place.
    pub(crate) fn is_in(&self, bbox: &BBox) -> bool {
        bbox.contains(self.lon, self.lat)
    }

    /// Offers a row whose area has the place.
    pub(crate) fn offer(&mut self, row: usize, bbox: &BBox, time: Option<&str>) {
        let (x, y) = bbox.center();
        let far = ((x - self.lon).powi(2) + (y - self.lat).powi(2)).sqrt();
        let time = time.unwrap_or_default();
        let better = self.best.as_ref().is_none_or(|(distance, latest, _)| {
            far < distance - 1e-9 || (far < distance + 1e-9 && time > latest.as_str())
        });
        if better {
            self.best = Some((far, time.to_string(), row));
        }
    }

    pub(crate) fn row(self) -> Option<usize> {
        self.best.map(|(_, _, row)| row)
    }
}
