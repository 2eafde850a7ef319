//! Permalinks of NASA Worldview: what a person looked at there is what is fetched here.
//!
//! `v` is the view in the units of the projection, `p` the projection (`geographic`, `arctic`,
//! `antarctic`), `l` the layers with their options in parentheses, the topmost first, `t` the time.
//! Source: the documentation of Worldview's URL parameters; older links say `products`, `map`, `time` and
//! `switch`.

use curator_core::matrix::Bounds;
use curator_core::{BBox, Projection};
use reqwest::Url;

use crate::area::Area;
use crate::error::{Error, Result};

/// What a permalink shows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    pub(crate) projection: Projection,
    /// The part of the map that is seen, when the link says it.
    pub(crate) area: Option<Area>,
    /// The day, or the instant where the link has one with minutes.
    pub(crate) time: Option<String>,
    /// Layers that are not hidden, in the link's order.
    pub(crate) layers: Vec<String>,
}

/// Longer links are none.
const LONGEST: usize = 64 << 10;

/// Reads a permalink.
///
/// # Errors
/// [`Error::Worldview`].
pub(crate) fn parse(link: &str) -> Result<View> {
    let refuse = |reason: &str| Error::Worldview { link: shortened(link), reason: reason.into() };
    if link.len() > LONGEST {
        return Err(refuse("it is too long"));
    }
    let url = Url::parse(link.trim()).map_err(|e| refuse(&e.to_string()))?;
    let pairs: Vec<(String, String)> =
        url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
    let value = |names: &[&str]| {
        let named = pairs.iter().find(|(key, _)| names.contains(&key.as_str()));
        named.map(|(_, value)| value.as_str())
    };
    let projection = match value(&["p", "switch"]) {
        None => Projection::Geographic,
        Some(name) => name.parse().map_err(|_| refuse(&format!("`p={name}` is no projection")))?,
    };
    let area = value(&["v", "map"]).map(|view| area(view, projection).map_err(|e| refuse(&e)));
    let layers = value(&["l", "products"]).map(layers).unwrap_or_default();
    let time = match value(&["t", "time"]) {
        None => None,
        Some(text) => Some(time(text).ok_or_else(|| refuse(&format!("`t={text}` is no time")))?),
    };
    if area.is_none() && time.is_none() && layers.is_empty() {
        return Err(refuse("it has no view (`v`), no time (`t`) and no layers (`l`)"));
    }
    Ok(View { projection, area: area.transpose()?, time, layers })
}

/// The part of a map that `v` says.
fn area(view: &str, projection: Projection) -> Result<Area, String> {
    let edges: Vec<f64> = view.split(',').filter_map(|edge| edge.trim().parse().ok()).collect();
    let wrong = || format!("`v={view}` is no west,south,east,north");
    let &[west, south, east, north] = &edges[..] else { return Err(wrong()) };
    if !edges.iter().all(|edge| edge.is_finite()) || west >= east || south >= north {
        return Err(wrong());
    }
    if !projection.is_geographic() {
        return Ok(Area::Map(projection, Bounds { west, south, east, north }));
    }
    // Windows reach beyond the world.
    let (south, north) = (south.max(-90.0), north.min(90.0));
    let (west, east) = if east - west >= 360.0 {
        (-180.0, 180.0)
    } else {
        let turn = |lon: f64| (lon + 180.0).rem_euclid(360.0) - 180.0;
        let right = turn(east);
        (turn(west), if right == -180.0 { 180.0 } else { right })
    };
    BBox::new(west, south, east, north).map(Area::Box).map_err(|_| wrong())
}

/// The layers of `l` that are not hidden. Their options stand in parentheses, with commas.
fn layers(list: &str) -> Vec<String> {
    let mut depth = 0_u32;
    let cut = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        (c == ',' || c == '~') && depth == 0
    };
    list.split(cut)
        .filter_map(|layer| {
            let (id, options) = layer.trim().split_once('(').unwrap_or((layer.trim(), ""));
            let options = options.trim_end_matches(')');
            let hidden =
                options.split(',').any(|option| matches!(option, "hidden" | "hidden=true"));
            (!hidden && !id.is_empty()).then(|| id.to_string())
        })
        .collect()
}

/// `2020-09-01`, or `2020-09-01-T10:20:00Z`, which is how Worldview writes an instant. Midnight is the day.
fn time(text: &str) -> Option<String> {
    let text = text.trim().replacen("-T", "T", 1);
    let instant = crate::times::parse_instant(&text)?;
    let midnight = instant.time() == jiff::civil::Time::midnight();
    Some(crate::times::name(instant, !midnight))
}

fn shortened(link: &str) -> String {
    let short: String = link.chars().take(80).collect();
    if short.len() < link.len() { short + "…" } else { short }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINK: &str = "https://worldview.earthdata.nasa.gov/?v=-30.5,10,0,40.25&l=Reference_Labels(hidden),\
        Coastlines(opacity=0.7,palette=x),MODIS_Terra_CorrectedReflectance_TrueColor&lg=true&t=2020-09-01-T00%3A00%3A00Z";

    #[test]
    fn a_link_is_its_box_day_and_visible_layers() {
        let view = parse(LINK).unwrap();
        assert_eq!(view.projection, Projection::Geographic);
        assert_eq!(view.area, Some(Area::Box("-30.5,10,0,40.25".parse().unwrap())));
        assert_eq!(view.time.as_deref(), Some("2020-09-01"));
        assert_eq!(view.layers, ["Coastlines", "MODIS_Terra_CorrectedReflectance_TrueColor"]);
    }

    #[test]
    fn a_polar_view_is_a_rectangle_of_the_map() {
        let link = "https://worldview.earthdata.nasa.gov/?p=arctic&v=-2097152,-1941504,2097152,1941504&t=2020-06-01-T10%3A20%3A00Z&l=A";
        let view = parse(link).unwrap();
        let bounds = Bounds {
            west: -2_097_152.0,
            south: -1_941_504.0,
            east: 2_097_152.0,
            north: 1_941_504.0,
        };
        assert_eq!(view.area, Some(Area::Map(Projection::Arctic, bounds)));
        assert_eq!(view.time.as_deref(), Some("2020-06-01T10:20:00Z"));
    }

    #[test]
    fn windows_over_the_antimeridian_and_round_the_globe() {
        let bbox = |v: &str| parse(&format!("https://w/?v={v}")).unwrap().area.unwrap().bbox();
        assert_eq!(bbox("160,-10,200,10"), "160,-10,-160,10".parse().unwrap());
        assert_eq!(bbox("-200,-100,-150,10"), "160,-90,-150,10".parse().unwrap());
        assert_eq!(bbox("-300,-120,300,120"), BBox::GLOBE);
        assert_eq!(bbox("-190,0,-180,10"), "170,0,180,10".parse().unwrap());
    }

    #[test]
    fn what_is_no_permalink_is_refused() {
        for bad in [
            "",
            "worldview",
            "https://w/",
            "https://w/?v=1,2,3",
            "https://w/?t=soon",
            "https://w/?p=moon&t=2020-01-01",
            "https://w/?v=nan,0,1,1",
        ] {
            assert!(matches!(parse(bad), Err(Error::Worldview { .. })), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_link_is_a_view_or_an_error(
            at in 0..LINK.len(), with in "[a-z0-9&=%,()~.-]{0,6}", gone in 0..30_usize, noise in ".{0,80}",
        ) {
            let end = (at + gone).min(LINK.len());
            let _ = parse(&format!("{}{with}{}", &LINK[..at], &LINK[end..]));
            let _ = parse(&format!("https://w/?v={noise}&t={noise}&l={noise}&p={noise}"));
            let _ = parse(&noise);
        }
    }
}
