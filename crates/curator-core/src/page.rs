//! Pages that report on a run: one file with everything in it, legible by day and by night, on a desk and on a
//! phone.
//!
//! ```
//! use curator_core::page::Page;
//! use std::fmt::Write;
//!
//! let mut page = Page::new("Sample", None);
//! page.numbers(&[("tiles chosen", "100".into())]);
//! page.heading("Classes", "all of them");
//! write!(page, "<p>{}</p>", curator_core::plot::escape("water & ice"))?;
//! assert!(page.finish().ends_with("</html>\n"));
//! # Ok::<(), std::fmt::Error>(())
//! ```

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Raster;
use crate::plot::escape;

/// Side of a thumbnail in pixels.
const THUMBNAIL: u32 = 80;

const STYLE: &str = "
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 16%,transparent)}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;max-width:68rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.7rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}
.quiet{opacity:.72}h2 .quiet{font-weight:400}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.75rem;margin:1.2rem 0}
.numbers div{border:1px solid var(--line);border-radius:14px;padding:.7rem .9rem}
.numbers b{display:block;font-size:1.6rem;line-height:1.2;font-variant-numeric:tabular-nums}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem}
svg{width:100%;height:auto}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{text-align:left;padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right}
code,pre{font:.82rem/1.45 ui-monospace,monospace;overflow-wrap:anywhere;white-space:pre-wrap;margin:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(72px,1fr));gap:4px}
td.bar{width:40%;vertical-align:middle}td.bar i{display:block;height:.55rem;border-radius:.3rem;background:#0072b2}
.tiles img{width:100%;height:auto;aspect-ratio:1;border-radius:8px;object-fit:cover}
.sheet{width:100%;border-radius:14px;image-rendering:auto}
";

/// A page that is being written. Text goes in through [`Write`], as HTML.
#[derive(Debug, Clone)]
pub struct Page(String);

impl Page {
    /// A page of a title; loaded anew every so many seconds while the run goes on.
    #[must_use]
    pub fn new(title: &str, seconds: Option<u32>) -> Self {
        let renewed = seconds.map_or(String::new(), |seconds| {
            format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">")
        });
        Self(format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\">{renewed}<title>{}</title><style>{STYLE}</style>\
             </head><body>",
            escape(title)
        ))
    }

    /// Appends HTML.
    pub fn push(&mut self, html: &str) {
        self.0.push_str(html);
    }

    /// A heading, with a quieter note beside it unless that is empty.
    pub fn heading(&mut self, title: &str, note: &str) {
        self.push(&format!("<h2>{}", escape(title)));
        if !note.is_empty() {
            self.push(&format!(" <span class=\"quiet\">{}</span>", escape(note)));
        }
        self.push("</h2>");
    }

    /// The numbers people look for first: what each is, and its value.
    pub fn numbers(&mut self, facts: &[(&str, String)]) {
        self.push("<div class=\"numbers\">");
        for (name, value) in facts {
            let (name, value) = (escape(name), escape(value));
            self.push(&format!("<div><b>{value}</b><span class=\"quiet\">{name}</span></div>"));
        }
        self.push("</div>");
    }

    /// Charts of [`crate::plot`], side by side where there is room.
    pub fn charts(&mut self, charts: &[String]) {
        self.push("<div class=\"charts\">");
        charts.iter().for_each(|chart| self.push(&format!("<div>{chart}</div>")));
        self.push("</div>");
    }

    /// Thumbnails, one beside the other: what each shows, and the picture.
    pub fn thumbnails<'a>(&mut self, pictures: impl IntoIterator<Item = (&'a str, Raster)>) {
        self.push("<div class=\"tiles\">");
        for (name, picture) in pictures {
            let small = picture.resize(THUMBNAIL, THUMBNAIL).and_then(|small| small.to_jpeg(80));
            // What cannot be drawn is left out: the page is not where it would be missed.
            let Ok(jpeg) = small else { continue };
            let (name, data) = (escape(name), STANDARD.encode(jpeg));
            self.push(&format!(
                "<img alt=\"{name}\" title=\"{name}\" width=\"80\" height=\"80\" src=\"data:image/jpeg;base64,{data}\">"
            ));
        }
        self.push("</div>");
    }

    /// The whole text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0 + "</body></html>\n"
    }
}

impl Write for Page {
    fn write_str(&mut self, html: &str) -> fmt::Result {
        self.0.write_str(html)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_text_and_pictures_are_in_the_page() {
        let mut page = Page::new("a <b>", Some(5));
        page.heading("x & y", "");
        page.numbers(&[("tiles", "<3>".into())]);
        page.thumbnails([("sea/\"1\"", Raster::filled(100, 80, &[1, 2, 3]))]);
        let html = page.finish();
        assert!(html.contains("<title>a &lt;b&gt;</title>") && html.contains("content=\"5\""));
        assert!(html.contains("<h2>x &amp; y</h2>") && html.contains("<b>&lt;3&gt;</b>"));
        assert!(
            html.contains("alt=\"sea/&quot;1&quot;\"") && html.contains("data:image/jpeg;base64,")
        );
    }
}
