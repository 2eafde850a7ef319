//! PNG and JPEG files with a georeference beside them.
//!
//! The world file (`.pgw`, `.jgw`) is what everything reads; `.aux.xml` (GDAL's PAM) adds the coordinate
//! reference system and the credit.

use std::io::Write;
use std::path::{Path, PathBuf};

use curator_core::context::Task;
use curator_core::picture::MAX_PIXELS;
use curator_core::plot::escape;
use curator_core::{Context, Error as CoreError, Projection, Raster, atomic};

use crate::error::{Error, Result};
use crate::place::{Place, Rect};
use crate::pyramid::Piece;
use crate::recipe::Recipe;
use crate::whole_file;

/// A side of a JPEG has at most so many pixels.
const LONGEST_JPEG: u32 = 65_500;

/// A picture to be written.
pub(crate) struct PictureFile<'a> {
    pub(crate) path: &'a Path,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// 3, or 4 with opacity.
    pub(crate) bands: usize,
    pub(crate) place: Place,
    pub(crate) metadata: &'a [(String, String)],
    pub(crate) recipe: &'a Recipe,
    /// Rows that are read at a time.
    pub(crate) rows: u32,
}

impl PictureFile<'_> {
    /// Writes PNG, some rows in memory.
    ///
    /// # Errors
    /// When the disk is full, or on Ctrl-C.
    pub(crate) fn png(
        &self,
        read: &dyn Fn(Rect) -> Piece<u8>,
        task: &dyn Task,
        context: &Context,
    ) -> Result<()> {
        self.beside()?;
        let io = || CoreError::io("write", self.path);
        whole_file::write(self.path, |file| {
            let fail = |e: png::EncodingError| io()(e.into());
            let mut encoder = png::Encoder::new(file, self.width, self.height);
            let color = if self.bands == 4 { png::ColorType::Rgba } else { png::ColorType::Rgb };
            encoder.set_color(color);
            encoder.set_depth(png::BitDepth::Eight);
            let comment = self.recipe.as_str().into();
            encoder.add_text_chunk("Comment".into(), comment).map_err(fail)?;
            let mut writer = encoder.write_header().map_err(fail)?;
            let mut stream = writer.stream_writer().map_err(fail)?;
            for rect in self.strips() {
                context.check()?;
                stream.write_all(&read(rect).data).map_err(io())?;
                task.advance(u64::from(rect.height));
            }
            stream.finish().map_err(fail)?;
            Ok(writer.finish().map_err(fail)?)
        })
    }

    /// Writes JPEG of a quality; transparent pixels are black. The whole picture is in memory.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond what a JPEG can have.
    pub(crate) fn jpeg(
        &self,
        quality: u8,
        read: &dyn Fn(Rect) -> Piece<u8>,
        task: &dyn Task,
        context: &Context,
    ) -> Result<()> {
        let pixels = u64::from(self.width) * u64::from(self.height);
        if self.width.max(self.height) > LONGEST_JPEG || pixels > MAX_PIXELS {
            return Err(Error::TooLarge { width: self.width, height: self.height, format: "JPEG" });
        }
        let mut data = Vec::with_capacity(pixels as usize * 3);
        for rect in self.strips() {
            context.check()?;
            let piece = read(rect);
            match self.bands {
                4 => data.extend(piece.data.chunks_exact(4).flat_map(over_black)),
                _ => data.extend_from_slice(&piece.data),
            }
            task.advance(u64::from(rect.height));
        }
        let raster = Raster { width: self.width, height: self.height, bands: 3, data };
        let encoded = raster.to_jpeg(quality)?;
        drop(raster);
        self.beside()?;
        let comment = self.recipe.as_str().as_bytes();
        let length = (comment.len() as u16 + 2).to_be_bytes();
        atomic::write_with(self.path, |file| {
            // The comment stands right after the start of the image.
            file.write_all(&encoded[..2])?;
            file.write_all(&[0xff, 0xfe])?;
            file.write_all(&length)?;
            file.write_all(comment)?;
            file.write_all(&encoded[2..])
        })?;
        Ok(())
    }

    fn strips(&self) -> impl Iterator<Item = Rect> + use<> {
        let (rows, width, height) = (self.rows.max(1), self.width, self.height);
        (0..height).step_by(rows as usize).map(move |y| Rect {
            x: 0,
            y: u64::from(y),
            width,
            height: rows.min(height - y),
        })
    }

    /// The files beside the picture; they come first, so that a whole picture has them.
    fn beside(&self) -> Result<()> {
        let Place { projection, origin, pixel } = self.place;
        // A world file has the middle of the first pixel.
        let (x, y) = (origin.0 + pixel.0 / 2.0, origin.1 - pixel.1 / 2.0);
        let world = format!("{}\n0\n0\n{}\n{x}\n{y}\n", pixel.0, -pixel.1);
        atomic::write_atomic(&world_file(self.path), world.as_bytes())?;
        let axes = if projection == Projection::Geographic { "2,1" } else { "1,2" };
        let facts: String = self
            .metadata
            .iter()
            .map(|(name, value)| {
                format!("    <MDI key=\"{}\">{}</MDI>\n", escape(name), escape(value))
            })
            .collect();
        let xml = format!(
            "<PAMDataset>\n  <SRS dataAxisToSRSAxisMapping=\"{axes}\">EPSG:{}</SRS>\n  \
             <GeoTransform>{}, {}, 0, {}, 0, {}</GeoTransform>\n  <Metadata>\n{facts}  </Metadata>\n\
             </PAMDataset>\n",
            projection.epsg(),
            origin.0,
            pixel.0,
            origin.1,
            -pixel.1
        );
        atomic::write_atomic(&aux_file(self.path), xml.as_bytes())?;
        Ok(())
    }
}

fn over_black(pixel: &[u8]) -> [u8; 3] {
    let scaled = |sample: u8| ((u32::from(sample) * u32::from(pixel[3]) + 127) / 255) as u8;
    [scaled(pixel[0]), scaled(pixel[1]), scaled(pixel[2])]
}

fn world_file(path: &Path) -> PathBuf {
    let png = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png"));
    path.with_extension(if png { "pgw" } else { "jgw" })
}

fn aux_file(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".aux.xml");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_beside_a_picture_have_its_name() {
        assert_eq!(world_file(Path::new("a/b.png")), Path::new("a/b.pgw"));
        assert_eq!(world_file(Path::new("a/b.jpeg")), Path::new("a/b.jgw"));
        assert_eq!(aux_file(Path::new("a/b.png")), Path::new("a/b.png.aux.xml"));
        assert_eq!(over_black(&[200, 100, 0, 128]), [100, 50, 0]);
    }
}
