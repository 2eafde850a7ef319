//! What is cut: the planes of all levels with their windows, and how those of two levels belong together.

use curator_core::mosaic::{Scene, Scenes};

use crate::companion;
use crate::tile::TileConfig;
use crate::windows::{Axis, Span, parents};

/// Columns of native tiles that are in memory at a time.
const STRIP: u32 = 64;

/// A plane with its windows, and those of the levels beside it.
pub(crate) struct Plan<'a> {
    pub(super) scenes: &'a Scenes,
    pub(super) scene: Scene,
    pub(super) columns: Vec<Span>,
    pub(super) rows: Vec<Span>,
    /// Numbers of the plans one level up and one down.
    pub(super) above: Option<usize>,
    pub(super) below: Option<usize>,
}

impl Plan<'_> {
    /// The windows in strips of columns that lie on at most [`STRIP`] native tiles, and one more where a
    /// window reaches over.
    pub(super) fn strips(&self) -> impl Iterator<Item = &[Span]> {
        let width = self.scene.matrix.tile.0;
        let strip = move |span: &Span| span.start / width / STRIP;
        self.columns.chunk_by(move |a, b| strip(a) == strip(b))
    }

    /// Number of bands.
    pub(super) fn bands(&self) -> u64 {
        (self.strips().count() * self.rows.len()) as u64
    }

    /// Number of windows.
    pub(crate) fn windows(&self) -> u64 {
        self.columns.len() as u64 * self.rows.len() as u64
    }

    /// Width and height of its pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        let (left, top, right, bottom) = self.scene.extent();
        (right - left, bottom - top)
    }
}

/// All planes to cut: those that were fetched, and with `levels` those above them that were not.
pub(crate) fn plan<'a>(config: &TileConfig, inputs: &'a [Scenes]) -> Vec<Plan<'a>> {
    let mut plans: Vec<Plan> = Vec::new();
    for scenes in inputs {
        // Masks alone are cut as if they were pictures: there is nothing else to cut.
        let pictures: Vec<&Scene> = match companion::pictures(scenes).collect::<Vec<_>>() {
            none if none.is_empty() => scenes.all().iter().collect(),
            pictures => pictures,
        };
        for fetched in pictures {
            for up in 0..config.levels {
                let Some(scene) = fetched.reduced(up) else { break };
                if up > 0 && inputs.iter().any(|scenes| scenes.find(&scene.key).is_some()) {
                    break;
                }
                let (left, top, right, bottom) = scene.extent();
                let (columns, rows) = (config.columns(), config.rows());
                let (columns, rows) = (columns.spans(left, right), rows.spans(top, bottom));
                plans.push(Plan { scenes, scene, columns, rows, above: None, below: None });
            }
        }
    }
    // Finest first, each layer and time together.
    plans.sort_by(|a, b| {
        let place = |plan: &Plan| {
            let key = plan.scene.key.clone();
            (key.layer, key.time, key.matrix_set, std::cmp::Reverse(key.level))
        };
        place(a).cmp(&place(b))
    });
    if config.levels > 1 {
        for at in 1..plans.len() {
            let (fine, coarse) = (&plans[at - 1].scene.key, &plans[at].scene.key);
            let same = (&fine.layer, &fine.time, &fine.matrix_set)
                == (&coarse.layer, &coarse.time, &coarse.matrix_set);
            if same && fine.level == coarse.level + 1 {
                plans[at - 1].above = Some(at);
                plans[at].below = Some(at - 1);
            }
        }
    }
    plans
}

/// Windows of scenes are cut along both axes alike, whatever is in them.
pub(crate) fn largest(plans: &[Plan]) -> Option<(u32, u32)> {
    plans.iter().map(Plan::size).max_by_key(|&(width, height)| u64::from(width) * u64::from(height))
}

/// Which spans along one axis lie over and under each span of a level.
pub(super) struct Kin {
    pub(super) parent: Vec<Option<Span>>,
    pub(super) children: Vec<Vec<Span>>,
}

impl Kin {
    pub(super) fn of(own: &[Span], above: Option<&[Span]>, below: Option<&[Span]>) -> Self {
        let parent = match above {
            Some(above) => parents(own, above).iter().map(|at| at.map(|at| above[at])).collect(),
            None => vec![None; own.len()],
        };
        let mut children = vec![Vec::new(); own.len()];
        if let Some(below) = below {
            for (at, span) in parents(below, own).iter().zip(below) {
                if let Some(at) = at {
                    children[*at].push(*span);
                }
            }
        }
        Self { parent, children }
    }
}

/// The axes that a configuration cuts along.
impl TileConfig {
    fn columns(&self) -> Axis {
        Axis::new(self.width, self.overlap, self.edge)
    }

    fn rows(&self) -> Axis {
        Axis::new(self.height, self.overlap, self.edge)
    }
}
