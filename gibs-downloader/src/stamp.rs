//! Text on pictures: the date of a frame.

use curator_core::Raster;
use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::ascii::FONT_10X20 as FONT;
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::text::{Baseline, Text};

/// A picture is this many font pixels wide at least, so that a stamp takes about a quarter of it.
const COLUMNS: u32 = 480;

/// Space around the text, in font pixels.
const MARGIN: u32 = 4;

/// Writes a line of ASCII into the lower left corner of an RGB picture, white on a darkened ground.
pub(crate) fn stamp(picture: &mut Raster, text: &str) {
    let scale = (picture.width / COLUMNS).max(1);
    let letters = text.chars().count() as u32;
    let size = FONT.character_size;
    let (width, height) = (letters * size.width + 2 * MARGIN, size.height + 2 * MARGIN);
    let top = picture.height.saturating_sub(height * scale);
    for y in top..picture.height {
        for x in 0..(width * scale).min(picture.width) {
            let at = ((y * picture.width + x) * 3) as usize;
            picture.data[at..at + 3].iter_mut().for_each(|sample| *sample /= 3);
        }
    }
    let mut canvas = Canvas { picture, scale, left: MARGIN * scale, top: top + MARGIN * scale };
    let style = MonoTextStyle::new(&FONT, BinaryColor::On);
    // Drawing into memory cannot fail.
    let Ok(_) = Text::with_baseline(text, Point::zero(), style, Baseline::Top).draw(&mut canvas);
}

/// A part of a picture, in font pixels.
struct Canvas<'a> {
    picture: &'a mut Raster,
    scale: u32,
    left: u32,
    top: u32,
}

impl OriginDimensions for Canvas<'_> {
    fn size(&self) -> Size {
        Size::new(self.picture.width / self.scale, self.picture.height / self.scale)
    }
}

impl DrawTarget for Canvas<'_> {
    type Color = BinaryColor;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(
        &mut self,
        pixels: I,
    ) -> Result<(), Self::Error> {
        for Pixel(Point { x, y }, color) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { continue };
            let (left, top) = (self.left + x * self.scale, self.top + y * self.scale);
            if !color.is_on() {
                continue;
            }
            for y in top..(top + self.scale).min(self.picture.height) {
                for x in left..(left + self.scale).min(self.picture.width) {
                    let at = ((y * self.picture.width + x) * 3) as usize;
                    self.picture.data[at..at + 3].fill(255);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_in_the_corner_and_other_dates_look_otherwise() {
        let blank = Raster::filled(960, 400, &[90, 120, 150]);
        let stamped = |text: &str| {
            let mut picture = blank.clone();
            stamp(&mut picture, text);
            picture
        };
        let (one, two) = (stamped("2020-09-12"), stamped("2020-09-13"));
        assert_ne!(one, two);
        assert!(one.data.chunks_exact(3).filter(|p| p == &[255; 3]).count() > 1000);
        // The rest is as it was: above, and to the right of ten letters at twice their size.
        let above = 960 * 3 * (400 - 56);
        assert_eq!(one.data[..above], blank.data[..above]);
        assert_eq!(one.pixel(216, 399), [90, 120, 150]);
        assert_eq!(one.pixel(0, 399), [30, 40, 50]);
        // Too small a picture is no error.
        stamp(&mut Raster::filled(3, 2, &[0; 3]), "2020-09-12");
    }
}
