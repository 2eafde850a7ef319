//! How fast to ask: requests at a time that follow what the service can bear, a rate, a bandwidth, and
//! quiet when the service asks for it.
//!
//! Requests at a time begin at [`FIRST`] and grow by one with every answer (slow start) up to the ceiling.
//! Trouble of the service (429, 5xx, no answer) halves them, once for all requests that were under way; from
//! there they grow by one a round, as TCP's congestion window does (RFC 5681).

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use curator_core::context::Cancel;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests at a time in the beginning.
const FIRST: f64 = 16.0;

/// Requests at a time at most, when nothing is said: a sixteenth of what GIBS allows bulk downloads.
pub(crate) const CEILING: usize = 32;

/// What a run may take of the service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Requests at a time, 1 to 500.
    pub concurrency: usize,
    /// Requests a second.
    pub rate: Option<f64>,
    /// Bytes a second.
    pub bandwidth: Option<u32>,
}

impl Default for Limits {
    /// As many as a few browsers, and no cap.
    fn default() -> Self {
        Self { concurrency: CEILING, rate: None, bandwidth: None }
    }
}

/// The pace of all requests of a run.
pub(crate) struct Pace {
    permits: Arc<Semaphore>,
    window: Mutex<Window>,
    rate: Option<DefaultDirectRateLimiter>,
    bandwidth: Option<(DefaultDirectRateLimiter, u32)>,
    /// Until when the service asked everybody to wait.
    quiet_until: Mutex<Option<Instant>>,
    cancel: Cancel,
}

/// Requests at a time, as a number that grows in fractions.
#[derive(Debug)]
struct Window {
    size: f64,
    ceiling: f64,
    /// Up to here it grows by one an answer, above by one a round.
    threshold: f64,
    /// Permits that exist, those under way included.
    permits: usize,
    /// Permits to be taken away when they come back.
    surplus: usize,
    /// How often it was halved: trouble of a request from before says nothing new.
    cuts: u64,
}

/// The right to make one request.
pub(crate) struct Permit {
    pace: Arc<Pace>,
    inner: Option<OwnedSemaphorePermit>,
    cuts: u64,
}

impl Pace {
    pub(crate) fn new(limits: Limits, cancel: Cancel) -> Arc<Self> {
        let ceiling = limits.concurrency.max(1);
        let first = (FIRST as usize).min(ceiling);
        let window = Window {
            size: first as f64,
            ceiling: ceiling as f64,
            threshold: ceiling as f64,
            permits: first,
            surplus: 0,
            cuts: 0,
        };
        let one = NonZeroU32::MIN;
        let rate = limits.rate.and_then(|rate| {
            let period = Duration::try_from_secs_f64(1.0 / rate).ok()?;
            Some(RateLimiter::direct(Quota::with_period(period)?.allow_burst(one)))
        });
        let bandwidth = limits.bandwidth.and_then(NonZeroU32::new).map(|bytes| {
            // A tenth of a second at once, so that the line is even.
            let burst = NonZeroU32::new((bytes.get() / 10).max(4096)).unwrap_or(one);
            (RateLimiter::direct(Quota::per_second(bytes).allow_burst(burst)), burst.get())
        });
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(first)),
            window: Mutex::new(window),
            rate,
            bandwidth,
            quiet_until: Mutex::new(None),
            cancel,
        })
    }

    /// Waits until one more request may be made; first come, first served.
    pub(crate) async fn permit(self: &Arc<Self>) -> Permit {
        let inner = self.permits.clone().acquire_owned().await.ok();
        self.quiet().await;
        if let Some(rate) = &self.rate {
            rate.until_ready().await;
        }
        Permit { pace: self.clone(), inner, cuts: self.window().cuts }
    }

    /// Waits until so many more bytes may be taken from the line.
    pub(crate) async fn take(&self, bytes: usize) {
        let Some((bandwidth, burst)) = &self.bandwidth else { return };
        let mut left = bytes;
        while left > 0 && !self.cancel.is_cancelled() {
            let piece = left.min(*burst as usize);
            if let Some(piece) = NonZeroU32::new(piece as u32) {
                // A piece is no larger than a burst, so that it is never refused.
                let _ = bandwidth.until_n_ready(piece).await;
            }
            left -= piece;
        }
    }

    /// Everybody waits, because the service asked for it.
    pub(crate) fn keep_quiet(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut quiet = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet = (*quiet).max(Some(until));
    }

    async fn quiet(&self) {
        let until = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until {
            self.sleep_until(until).await;
        }
    }

    /// Sleeps, but not longer than until the user has enough of it.
    pub(crate) async fn sleep_until(&self, until: Instant) {
        while !self.cancel.is_cancelled() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_millis(100))).await;
        }
    }

    /// Requests at a time at present.
    #[cfg(test)]
    fn at_a_time(&self) -> usize {
        let window = self.window();
        window.permits - window.surplus
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// The service answered well: there may be more requests at a time.
    pub(crate) fn went_well(&self) {
        let mut window = self.pace.window();
        let step = if window.size < window.threshold { 1.0 } else { 1.0 / window.size };
        window.size = (window.size + step).min(window.ceiling);
        while window.permits - window.surplus < window.size as usize {
            if window.surplus > 0 {
                window.surplus -= 1;
            } else {
                window.permits += 1;
                self.pace.permits.add_permits(1);
            }
        }
    }

    /// The service is in trouble: half as many requests at a time.
    pub(crate) fn went_badly(&self) {
        let mut window = self.pace.window();
        if self.cuts < window.cuts {
            return;
        }
        window.cuts += 1;
        window.size = (window.size / 2.0).max(1.0);
        window.threshold = window.size;
        let wanted = window.size as usize;
        window.surplus = window.permits.saturating_sub(wanted);
        let idle = self.pace.permits.forget_permits(window.surplus);
        window.surplus -= idle;
        window.permits -= idle;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        let mut window = self.pace.window();
        if window.surplus > 0 {
            window.surplus -= 1;
            window.permits -= 1;
            inner.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(concurrency: usize) -> Limits {
        Limits { concurrency, rate: None, bandwidth: None }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn it_grows_with_answers_and_is_halved_once_by_trouble() {
        block_on(async {
            let pace = Pace::new(limits(32), Cancel::default());
            assert_eq!(pace.at_a_time(), 16);
            for _ in 0..40 {
                pace.permit().await.went_well();
            }
            assert_eq!(pace.at_a_time(), 32);
            let mut under_way = Vec::new();
            for _ in 0..32 {
                under_way.push(pace.permit().await);
            }
            under_way.iter().for_each(Permit::went_badly);
            assert_eq!(pace.at_a_time(), 16);
            drop(under_way);
            assert_eq!(pace.permits.available_permits(), 16);
            // Above the threshold a whole round of answers brings one more.
            for _ in 0..17 {
                pace.permit().await.went_well();
            }
            assert_eq!(pace.at_a_time(), 17);
            for _ in 0..9 {
                pace.permit().await.went_badly();
            }
            assert_eq!((pace.at_a_time(), pace.permits.available_permits()), (1, 1));
        });
    }

    #[test]
    fn requests_and_bytes_a_second_are_kept_to() {
        block_on(async {
            let slow = Limits { concurrency: 16, rate: Some(50.0), bandwidth: Some(100_000) };
            let pace = Pace::new(slow, Cancel::default());
            let begun = Instant::now();
            for _ in 0..11 {
                drop(pace.permit().await);
            }
            assert!(begun.elapsed() >= Duration::from_millis(190), "{:?}", begun.elapsed());
            let begun = Instant::now();
            pace.take(40_000).await;
            assert!(begun.elapsed() >= Duration::from_millis(280), "{:?}", begun.elapsed());
        });
    }
}
