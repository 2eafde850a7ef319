//! One request, from the first attempt to a good tile, certainty that there is none, or the end of patience.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use curator_core::scene::NativeTile;
use curator_core::{Raster, digest};

use crate::archive::{Failure, is_layer_name};
use crate::body::{Inspected, inspect};
use crate::client::{Answer, Client, Tile, header};
use crate::contact;
use crate::journal::Absent;
use crate::keeper::{Arrival, Room};
use crate::pace::Permit;
use crate::plan::Request;
use crate::resume::Known;
use crate::times;
use crate::trouble::Trouble;

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) room: Arc<Room>,
    pub(crate) thumbnails_wanted: AtomicBool,
}

/// What came of one request.
pub(crate) enum Outcome {
    Tile {
        arrival: Box<Arrival>,
        thumbnail: Option<Raster>,
        attempts: u32,
    },
    /// The finished tile is what the service still has.
    Unchanged {
        attempts: u32,
    },
    NoData {
        absent: Absent,
        attempts: u32,
    },
    Failed {
        failure: Failure,
        the_service: bool,
    },
    /// The user asked to stop.
    Stopped,
}

/// Asks until it is settled. The permit is for the first attempt; each further one waits for its own.
pub(crate) async fn settle(
    shared: Arc<Shared>,
    request: Request,
    known: Option<Known>,
    permit: Permit,
) -> Outcome {
    let url = request.url();
    let etag = known.as_ref().map_or("", |known| known.etag.as_str());
    let (mut permit, mut in_trouble) = (Some(permit), None);
    let mut attempts = 0;
    loop {
        let pass = match permit.take() {
            Some(permit) => permit,
            None => shared.client.pace().permit().await,
        };
        attempts += 1;
        let came = match shared.client.tile(&url, etag).await {
            Ok(Tile::New(answer)) => check(&shared, &request, answer, known.as_ref(), attempts),
            Ok(Tile::Unchanged) => Ok(Outcome::Unchanged { attempts }),
            // What was there once stays, even when the service forgets it.
            Ok(Tile::Nothing) if known.is_some() => Ok(Outcome::Unchanged { attempts }),
            Ok(Tile::Nothing) => Ok(Outcome::NoData { absent: absent(&request), attempts }),
            Err(trouble) => Err(trouble),
        };
        let trouble = match came {
            Ok(outcome) => {
                pass.went_well();
                return outcome;
            }
            Err(trouble) => trouble,
        };
        tracing::debug!("attempt {attempts} of {url}: {trouble}");
        if trouble.is_the_service() {
            pass.went_badly();
        }
        drop(pass);
        in_trouble.get_or_insert_with(|| shared.room.trouble());
        if !shared.client.wait(attempts - 1, &trouble).await {
            if shared.client.is_cancelled() {
                return Outcome::Stopped;
            }
            let failure = Failure {
                tile: absent(&request),
                kind: trouble.kind(),
                reason: trouble.to_string(),
                attempts,
                at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                url,
            };
            return Outcome::Failed { failure, the_service: trouble.is_the_service() };
        }
    }
}

/// Looks into an answer. It takes a millisecond of a thread that would otherwise wait for the network: less
/// than handing it to another one.
fn check(
    shared: &Shared,
    request: &Request,
    answer: Answer,
    known: Option<&Known>,
    attempts: u32,
) -> Result<Outcome, Trouble> {
    let content_type = header(&answer.headers, "content-type");
    let wanted = shared.thumbnails_wanted.load(Ordering::Relaxed);
    let target = &request.target;
    let good = inspect(
        &content_type,
        &answer.body,
        &target.media_type,
        target.matrix.tile,
        wanted.then_some(contact::SIDE),
    )?;
    let tile = describe(request, &answer, &good)?;
    if known.is_some_and(|known| known.sha256 == tile.sha256) {
        return Ok(Outcome::Unchanged { attempts });
    }
    let thumbnail = wanted.then(|| contact::thumbnail(&good.image, good.empty_share)).flatten();
    shared.room.enter(answer.body.len());
    let instead_of = known.map(|known| known.place.clone());
    let arrival = Arrival { tile, body: answer.body, stream: good.stream, instead_of };
    Ok(Outcome::Tile { arrival: Box::new(arrival), thumbnail, attempts })
}

/// The row of a tile, by what the service says that it is; where its bytes go is not known yet.
fn describe(request: &Request, answer: &Answer, good: &Inspected) -> Result<NativeTile, Trouble> {
    let target = &request.target;
    let said = |name: &'static str| header(&answer.headers, name);
    let layer = match said("layer-identifier-actual") {
        name if name.is_empty() => target.layer.clone(),
        name if is_layer_name(&name) => name,
        value => return Err(Trouble::Header { name: "Layer-Identifier-Actual", value }),
    };
    let time = match said("layer-time-actual") {
        _ if request.time.is_empty() => String::new(),
        value if value.is_empty() => request.time.to_string(),
        value => match times::parse_instant(&value) {
            Some(instant) => {
                let midnight = instant.time() == jiff::civil::Time::midnight();
                times::name(instant, target.subdaily || !midnight)
            }
            None => return Err(Trouble::Header { name: "Layer-Time-Actual", value }),
        },
    };
    Ok(NativeTile {
        layer_asked: target.layer.clone(),
        layer,
        time_asked: request.time.to_string(),
        time,
        matrix_set: target.matrix_set.clone(),
        level: target.level.into(),
        row: request.row,
        column: request.column,
        path: String::new(),
        offset: 0,
        length: answer.body.len() as u64,
        media_type: good.media_type.into(),
        etag: said("etag"),
        sha256: digest::of_bytes(&answer.body),
        empty_share: good.empty_share,
    })
}

fn absent(request: &Request) -> Absent {
    Absent {
        layer: request.target.layer.clone(),
        time: request.time.to_string(),
        matrix_set: request.target.matrix_set.clone(),
        level: request.target.level.into(),
        row: request.row,
        column: request.column,
    }
}
