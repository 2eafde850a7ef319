//! `serve`: the labelling page over a set of tiles.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use curator_core::{Context, Error as CoreError};
use curator_labeling::{Order, Queue, Session, Settings, Store, Tally, picture_file};
use curator_web::{ServeOptions, Server};
use serde::Serialize;

use crate::{Error, Result};

/// What is labelled, how, and where the labels go.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The images.
    pub tiles: PathBuf,
    /// The labels' directory.
    pub output: PathBuf,
    /// In which order they are asked.
    pub order: Order,
    /// A picture of what is looked for.
    pub reference: Option<PathBuf>,
    /// What is asked, and of how many.
    pub settings: Settings,
    /// Where to listen.
    pub web: ServeOptions,
}

/// What a session ends with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Numbers over all labels.
    #[serde(flatten)]
    pub tally: Tally,
    /// Pictures in total.
    pub tiles: usize,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { answered, positive, disputed, skipped, flagged, .. } = self.tally;
        write!(f, "{answered} labelled, {positive} positive; {} pictures here", self.tiles)?;
        for (count, what) in
            [(disputed, "disagreements"), (flagged, "flagged"), (skipped, "could not be shown")]
        {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// Serves the page until Finish or Ctrl-C. The pictures are listed while the page is up already.
///
/// # Errors
/// When images or labels cannot be read, or the address cannot be bound.
pub fn run(config: &ServeConfig, context: &Context) -> Result<Report> {
    if !config.tiles.exists() {
        return Err(CoreError::Missing { path: config.tiles.clone() }.into());
    }
    if let Order::Listed(file) | Order::Scores(file) = &config.order
        && !file.is_file()
    {
        return Err(CoreError::Missing { path: file.clone() }.into());
    }
    let classes = &config.settings.classes;
    let same = |(i, class): (usize, &String)| class.is_empty() || classes[..i].contains(class);
    if classes.iter().enumerate().any(same) {
        return Err(Error::Classes { classes: classes.join(",") });
    }
    let reference = config.reference.as_deref().map(picture_file).transpose()?;
    let queue = Queue::new(&config.tiles, config.order.clone(), reference);
    let store = Store::open(&config.output)?;
    let server = Server::bind(&config.web)?;
    let settings = Settings { secret: server.access.secret(), ..config.settings.clone() };
    let session = Arc::new(Session::new(queue.clone(), store, settings)?);
    let failed = Arc::new(Mutex::new(None));
    let listing = {
        let (queue, session, failed) = (queue.clone(), session.clone(), failed.clone());
        let progress = context.progress.clone();
        move || match queue.fill() {
            Ok(()) => {
                session.try_skipped();
                progress.note(&format!("{} pictures", queue.len()));
            }
            Err(error) => {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                session.finish();
            }
        }
    };
    let runtime = tokio::runtime::Runtime::new().map_err(curator_web::Error::Stopped)?;
    runtime.block_on(async {
        std::thread::spawn(listing);
        let router = curator_labeling::router(session.clone());
        server.run(router, context, session.finished()).await
    })?;
    if let Some(error) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error.into());
    }
    Ok(Report { tally: session.progress("").tally, tiles: queue.len() })
}
